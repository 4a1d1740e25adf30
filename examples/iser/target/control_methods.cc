#include "examples/iser/target/control_methods.h"

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "examples/control/parameters.h"
#include "examples/iser/target/limits.h"
#include "examples/protocol/iscsi/chap.h"
#include "examples/protocol/iscsi/text.h"
#include "mrpool/device.h"

namespace mrpool::iser_target {

namespace json = boost::json;

namespace {

using control::Given;
using control::Parameter;

constexpr uint64_t kMaxTag = 0xffff;

template <typename... Parts>
absl::Status bad(const Parts&... parts) {
  return absl::InvalidArgumentError(absl::StrCat(parts...));
}

Parameter objects(std::string name, std::string help, std::vector<Parameter> fields) {
  Parameter parameter;
  parameter.name = std::move(name);
  parameter.type = control::Type::kObjects;
  parameter.help = std::move(help);
  parameter.fields = std::move(fields);
  return parameter;
}

std::vector<Given> objects_of(const Given& given, std::string_view name) {
  std::vector<Given> all;
  const json::value* list = given.all().if_contains(name);
  if (list == nullptr || !list->is_array()) return all;
  for (const json::value& each : list->get_array()) all.emplace_back(each.as_object());
  return all;
}

Parameter tag() { return required(control::number("tag", "of the group", 1, kMaxTag)); }
Parameter node_name() { return required(control::text("name", "of the target")); }
uint32_t tag_of(const Given& given) { return uint32_t(given.number("tag")); }

template <typename Groups>
absl::Status there(const Groups& groups, uint64_t tag, std::string_view kind) {
  if (groups.contains(uint32_t(tag))) return absl::OkStatus();
  return absl::NotFoundError(absl::StrCat("there is no ", std::string(kind), " group ", tag));
}

template <typename Groups>
absl::Status not_there(const Groups& groups, uint64_t tag, std::string_view kind) {
  if (groups.contains(uint32_t(tag))) {
    return absl::AlreadyExistsError(
        absl::StrCat("there is a ", std::string(kind), " group ", tag, " already"));
  }
  if (groups.size() < kMaxGroups) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat("there are ", kMaxGroups, " groups already"));
}

absl::StatusOr<TargetNode*> node_of(ControlDocument& document, const Given& given) {
  const std::string name = iscsi::normal_iscsi_name(given.text("name"));
  const auto found = document.nodes.find(name);
  if (found != document.nodes.end()) return &found->second;
  return absl::NotFoundError(absl::StrCat("there is no target ", name));
}

// In use by a target: which one.
template <typename Uses>
absl::Status unused(const ControlDocument& document, uint32_t tag, const Uses& uses) {
  for (const auto& [name, node] : document.nodes) {
    if (!uses(node)) continue;
    return absl::FailedPreconditionError(
        absl::StrCat("group ", tag, " is used by ", name, "; change that first"));
  }
  return absl::OkStatus();
}

std::vector<Parameter> auth_parameters() {
  return {control::flag("disable_chap", "nobody has to prove an account"),
          control::flag("require_chap", "everybody has to; so it is whenever there is a group"),
          control::flag("mutual_chap", "prove the target's account when asked"),
          control::number("chap_group", "the group of accounts; 0: none", 0, kMaxTag)};
}

absl::StatusOr<NodeAuth> auth_of(const ControlDocument& document, const Given& given) {
  NodeAuth auth{.disable_chap = given.flag("disable_chap"),
                .require_chap = given.flag("require_chap"),
                .mutual_chap = given.flag("mutual_chap"),
                .chap_group = uint32_t(given.number("chap_group"))};
  if (auth.disable_chap && auth.require_chap) {
    return bad("disable_chap and require_chap exclude each other; leave one of them out");
  }
  if (auth.chap_group == 0) return auth;
  if (absl::Status status = there(document.accounts, auth.chap_group, "auth"); !status.ok()) {
    return status;
  }
  return auth;
}

json::object shown(const NodeAuth& auth) {
  return {{"disable_chap", auth.disable_chap},
          {"require_chap", auth.require_chap},
          {"mutual_chap", auth.mutual_chap},
          {"chap_group", auth.chap_group}};
}

}  // namespace

absl::StatusOr<Config> served_config(const ControlDocument& document) {
  auto config = document.to_config();
  if (!config.ok()) return config;
  if (absl::Status status = complete_live(*config); !status.ok()) return status;
  return config;
}

absl::Status ControlMethods::apply(const Edit& edit) {
  ControlDocument next = document_;
  if (absl::Status status = edit(next); !status.ok()) return status;
  const auto config = served_config(next);
  if (!config.ok()) return config.status();
  if (absl::Status status = holder_.serve(*config); !status.ok()) return status;
  document_ = std::move(next);
  return absl::OkStatus();
}

void ControlMethods::add_change(std::string name, std::string summary,
                                std::vector<Parameter> parameters,
                                std::function<absl::Status(const Given&, ControlDocument&)> edit) {
  administration_->methods.add(
      {.name = std::move(name),
       .summary = std::move(summary),
       .parameters = std::move(parameters),
       .changes = true,
       .start = [this, edit = std::move(edit)](const Given& given, control::Reply reply) {
         std::vector<engine::Step> steps;
         steps.push_back({.run = [this, edit, given] {
           return apply([&](ControlDocument& document) { return edit(given, document); });
         }});
         administration_->changes.add(std::move(steps),
                                      [reply = std::move(reply)](const absl::Status& status) {
                                        if (status.ok()) return reply(json::value(true));
                                        reply(status);
                                      });
       }});
}

void ControlMethods::add_query(std::string name, std::string summary,
                               std::vector<Parameter> parameters,
                               std::function<control::Result(const Given&)> run) {
  administration_->methods.add({.name = std::move(name),
                                .summary = std::move(summary),
                                .parameters = std::move(parameters),
                                .run = std::move(run)});
}

void ControlMethods::add_to(engine::Administration& administration) {
  administration_ = &administration;
  add_portal_groups();
  add_initiator_groups();
  add_auth_groups();
  add_nodes();
  add_node_parts();
  add_save();
}

namespace {

// "verbs" of what is listened on already; a host may say another.
std::string transport_of(const ControlDocument& document) {
  for (const auto& [tag, addresses] : document.portals) {
    for (const std::string& address : addresses) {
      if (const auto parsed = Address::parse(address); parsed.ok()) return parsed->transport;
    }
  }
  return "verbs";
}

absl::StatusOr<std::string> portal_of(const ControlDocument& document, const Given& portal) {
  const std::string host = portal.text("host"), port = portal.text("port", "3260");
  const bool whole = host.find("://") != host.npos;
  const bool bare = !whole && host.find(':') != host.npos && !host.starts_with('[');
  const std::string address = absl::StrCat(whole ? "" : transport_of(document) + "://",
                                           bare ? "[" : "", host, bare ? "]" : "", ":", port);
  const auto parsed = Address::parse(address);
  if (!parsed.ok()) return parsed.status();
  return address;
}

json::object shown_portal(const std::string& text) {
  const auto address = Address::parse(text);
  if (!address.ok()) return {{"host", text}};
  return {{"host", address->host},
          {"port", absl::StrCat(address->port)},
          {"transport", address->transport}};
}

}  // namespace

void ControlMethods::add_portal_groups() {
  add_change(
      "iscsi_create_portal_group", "name addresses that targets can be reached by",
      {tag(),
       required(objects("portals", "the addresses",
                        {required(control::text("host", "as 10.0.0.1, or uiwarp://10.0.0.1")),
                         control::text("port", "default: 3260")})),
       control::only("private", false, "discovery shows what it shows by address"),
       control::only("wait", false, "a group is listened on while targets have it")},
      [](const Given& given, ControlDocument& document) -> absl::Status {
        absl::Status status = not_there(document.portals, tag_of(given), "portal");
        std::vector<std::string> addresses;
        for (const Given& each : objects_of(given, "portals")) {
          const auto address = portal_of(document, each);
          if (!address.ok()) return address.status();
          addresses.push_back(*address);
        }
        if (addresses.empty()) return bad("portals is empty; write a host");
        if (status.ok()) document.portals[tag_of(given)] = std::move(addresses);
        return status;
      });
  add_change("iscsi_delete_portal_group", "forget addresses that no target has", {tag()},
             [](const Given& given, ControlDocument& document) {
               const uint32_t tag = tag_of(given);
               absl::Status status = there(document.portals, tag, "portal");
               if (status.ok()) {
                 status = unused(document, tag, [tag](const TargetNode& node) {
                   return std::ranges::any_of(node.maps,
                                              [tag](const auto& map) { return map.first == tag; });
                 });
               }
               if (status.ok()) document.portals.erase(tag);
               return status;
             });
  add_query("iscsi_get_portal_groups", "the groups of addresses", {}, [this](const Given&) {
    json::array all;
    for (const auto& [tag, addresses] : document_.portals) {
      json::array portals;
      for (const std::string& each : addresses) portals.push_back(shown_portal(each));
      all.push_back(json::object{{"tag", tag}, {"portals", portals}, {"private", false}});
    }
    return control::Result(all);
  });
}

namespace {

absl::Status add_names(const Given& given, std::vector<std::string>& to) {
  for (const std::string& text : given.texts("initiators")) {
    const std::string name = text == kAnybody ? text : iscsi::normal_iscsi_name(text);
    if (name != kAnybody && !iscsi::valid_written_name(name)) {
      return bad("\"", text, "\" is no iSCSI name; write iqn.2026-11.org.example:host, or ANY");
    }
    if (std::ranges::find(to, name) == to.end()) to.push_back(name);
  }
  for (const std::string& mask : given.texts("netmasks")) {
    if (mask == kAnybody) continue;
    return bad("netmask \"", mask, "\": initiators are told apart by their names alone; write ANY");
  }
  return absl::OkStatus();
}

}  // namespace

void ControlMethods::add_initiator_groups() {
  const std::vector<Parameter> parameters{tag(), control::texts("initiators", "names, or ANY"),
                                          control::texts("netmasks", "ANY alone")};
  add_change("iscsi_create_initiator_group", "name initiators that may log in", parameters,
             [](const Given& given, ControlDocument& document) {
               absl::Status status = not_there(document.initiators, tag_of(given), "initiator");
               if (!status.ok()) return status;
               return add_names(given, document.initiators[tag_of(given)]);
             });
  add_change("iscsi_delete_initiator_group", "forget initiators that no target admits", {tag()},
             [](const Given& given, ControlDocument& document) {
               const uint32_t tag = tag_of(given);
               absl::Status status = there(document.initiators, tag, "initiator");
               if (status.ok()) {
                 status = unused(document, tag, [tag](const TargetNode& node) {
                   return std::ranges::any_of(node.maps,
                                              [tag](const auto& map) { return map.second == tag; });
                 });
               }
               if (status.ok()) document.initiators.erase(tag);
               return status;
             });
  add_change("iscsi_initiator_group_add_initiators", "admit more initiators", parameters,
             [](const Given& given, ControlDocument& document) {
               absl::Status status = there(document.initiators, tag_of(given), "initiator");
               if (!status.ok()) return status;
               return add_names(given, document.initiators[tag_of(given)]);
             });
  add_change("iscsi_initiator_group_remove_initiators", "no longer admit initiators", parameters,
             [](const Given& given, ControlDocument& document) {
               std::vector<std::string> gone;
               absl::Status status = there(document.initiators, tag_of(given), "initiator");
               if (status.ok()) status = add_names(given, gone);
               if (!status.ok()) return status;
               std::vector<std::string>& names = document.initiators[tag_of(given)];
               for (const std::string& name : gone) {
                 if (std::erase(names, name) == 0) {
                   return absl::Status(absl::NotFoundError(name + " is not in the group"));
                 }
               }
               return status;
             });
  add_query("iscsi_get_initiator_groups", "the groups of initiators", {}, [this](const Given&) {
    json::array all;
    for (const auto& [tag, names] : document_.initiators) {
      all.push_back(json::object{{"tag", tag},
                                 {"initiators", json::array(names.begin(), names.end())},
                                 {"netmasks", json::array{kAnybody}}});
    }
    return control::Result(all);
  });
}

namespace {

std::vector<Parameter> account_parameters() {
  return {required(control::text("user", "whom the initiator proves to be")),
          required(control::text("secret", "12 to 255 bytes")),
          control::text("muser", "whom the target proves to be"),
          control::text("msecret", "12 to 255 bytes"),
          control::text("initiator", "the only one whose account it is; default: of all")};
}

absl::Status add_account(const Given& given, std::vector<GroupAccount>& to) {
  GroupAccount account{.user = given.text("user"),
                       .secret = given.text("secret"),
                       .muser = given.text("muser"),
                       .msecret = given.text("msecret"),
                       .initiator = iscsi::normal_iscsi_name(given.text("initiator"))};
  for (const auto& [user, secret] :
       {std::pair{&account.user, &account.secret}, std::pair{&account.muser, &account.msecret}}) {
    if (secret == &account.msecret && user->empty() && secret->empty()) continue;
    iscsi::Credentials checked;
    if (absl::Status status = iscsi::parse_credentials(absl::StrCat(*user, ":", *secret), checked);
        !status.ok()) {
      return status;
    }
    if (checked.user != *user) return bad("a user must have no colon");
  }
  for (const GroupAccount& each : to) {
    if (each.user == account.user && each.initiator == account.initiator) {
      return absl::AlreadyExistsError(
          absl::StrCat("the group has an account of ", account.user, " already"));
    }
  }
  to.push_back(std::move(account));
  return absl::OkStatus();
}

}  // namespace

void ControlMethods::add_auth_groups() {
  add_change("iscsi_create_auth_group", "name accounts that initiators prove",
             {tag(), objects("secrets", "the accounts", account_parameters())},
             [](const Given& given, ControlDocument& document) {
               absl::Status status = not_there(document.accounts, tag_of(given), "auth");
               if (!status.ok()) return status;
               std::vector<GroupAccount>& group = document.accounts[tag_of(given)];
               for (const Given& each : objects_of(given, "secrets")) {
                 if (status.ok()) status = add_account(each, group);
               }
               return status;
             });
  add_change("iscsi_delete_auth_group", "forget accounts that no target asks for", {tag()},
             [](const Given& given, ControlDocument& document) {
               const uint32_t tag = tag_of(given);
               absl::Status status = there(document.accounts, tag, "auth");
               if (status.ok()) {
                 status = unused(document, tag, [tag](const TargetNode& node) {
                   return node.auth.chap_group == tag;
                 });
               }
               if (status.ok() && document.discovery.chap_group == tag) {
                 status = absl::FailedPreconditionError(
                     absl::StrCat("group ", tag, " is used by discovery; change that first"));
               }
               if (status.ok()) document.accounts.erase(tag);
               return status;
             });
  std::vector<Parameter> tagged = account_parameters();
  tagged.insert(tagged.begin(), tag());
  add_change("iscsi_auth_group_add_secret", "add an account to a group", tagged,
             [](const Given& given, ControlDocument& document) {
               absl::Status status = there(document.accounts, tag_of(given), "auth");
               return status.ok() ? add_account(given, document.accounts[tag_of(given)]) : status;
             });
  add_change("iscsi_auth_group_remove_secret", "take an account out of a group",
             {tag(), required(control::text("user", "whose account"))},
             [](const Given& given, ControlDocument& document) {
               absl::Status status = there(document.accounts, tag_of(given), "auth");
               if (!status.ok()) return status;
               const std::string user = given.text("user");
               if (std::erase_if(document.accounts[tag_of(given)], [&](const GroupAccount& each) {
                     return each.user == user;
                   }) == 0) {
                 return absl::Status(absl::NotFoundError(user + " has no account in the group"));
               }
               return status;
             });
  add_query("iscsi_get_auth_groups", "the groups of accounts, without their secrets", {},
            [this](const Given&) {
              json::array all;
              for (const auto& [tag, accounts] : document_.accounts) {
                json::array secrets;
                for (const GroupAccount& each : accounts) {
                  json::object account{{"user", each.user}};
                  if (!each.muser.empty()) account["muser"] = each.muser;
                  if (!each.initiator.empty()) account["initiator"] = each.initiator;
                  secrets.push_back(std::move(account));
                }
                all.push_back(json::object{{"tag", tag}, {"secrets", std::move(secrets)}});
              }
              return control::Result(all);
            });
  add_change("iscsi_set_discovery_auth", "which account discovery asks for", auth_parameters(),
             [](const Given& given, ControlDocument& document) {
               const auto auth = auth_of(document, given);
               if (auth.ok()) document.discovery = *auth;
               return auth.status();
             });
}

namespace {

Parameter maps_parameter() {
  return required(objects("pg_ig_maps", "by which addresses, for whom",
                          {required(control::number("pg_tag", "a portal group", 1, kMaxTag)),
                           required(control::number("ig_tag", "an initiator group", 1, kMaxTag))}));
}

absl::Status add_maps(const Given& given, const ControlDocument& document, TargetNode& node) {
  for (const Given& each : objects_of(given, "pg_ig_maps")) {
    const std::pair map{uint32_t(each.number("pg_tag")), uint32_t(each.number("ig_tag"))};
    absl::Status status = there(document.portals, map.first, "portal");
    if (status.ok()) status = there(document.initiators, map.second, "initiator");
    if (!status.ok()) return status;
    if (std::ranges::find(node.maps, map) == node.maps.end()) node.maps.push_back(map);
  }
  return absl::OkStatus();
}

absl::Status add_lun(const Given& given, TargetNode& node) {
  LunConfig lun(given.text("bdev_name"));
  if (absl::Status status = take_own_options(lun); !status.ok()) return status;
  if (given.has("lun_id")) lun.lun = uint16_t(given.number("lun_id"));
  if (!lun.lun) {
    const std::vector<uint16_t> used = lun_numbers(node.target);
    uint16_t free = 0;
    while (std::ranges::find(used, free) != used.end()) ++free;
    lun.lun = free;
  }
  for (const LunConfig& each : node.target.luns) {
    if (each.lun != lun.lun) continue;
    return absl::AlreadyExistsError(absl::StrCat("LUN ", *lun.lun, " is ", each.storage));
  }
  node.target.luns.push_back(std::move(lun));
  return absl::OkStatus();
}

std::vector<Parameter> lun_parameters() {
  return {required(control::text("bdev_name", "a storage, as file:/srv/disk.img")),
          control::number("lun_id", "default: the lowest that is free", 0, kMaxLuns - 1)};
}

json::object shown_node(const TargetNode& node) {
  json::object to = shown(node.auth);
  to["name"] = node.target.name;
  to["alias_name"] = node.target.alias;
  json::array maps, luns;
  for (const auto& [portal, initiator] : node.maps) {
    maps.push_back(json::object{{"pg_tag", portal}, {"ig_tag", initiator}});
  }
  for (const LunConfig& each : node.target.luns) {
    luns.push_back(json::object{{"bdev_name", each.storage}, {"lun_id", each.lun.value_or(0)}});
  }
  to["pg_ig_maps"] = std::move(maps);
  to["luns"] = std::move(luns);
  to["queue_depth"] = kQueueDepth;
  to["header_digest"] = false;
  to["data_digest"] = false;
  return to;
}

absl::Status create_node(const Given& given, ControlDocument& document) {
  TargetNode node;
  node.target.name = iscsi::normal_iscsi_name(given.text("name"));
  node.target.alias = given.text("alias_name");
  if (document.nodes.contains(node.target.name)) {
    return absl::AlreadyExistsError(
        absl::StrCat("there is a target ", node.target.name, " already"));
  }
  const auto auth = auth_of(document, given);
  if (!auth.ok()) return auth.status();
  node.auth = *auth;
  if (absl::Status status = add_maps(given, document, node); !status.ok()) return status;
  for (const Given& each : objects_of(given, "luns")) {
    if (absl::Status status = add_lun(each, node); !status.ok()) return status;
  }
  document.nodes.emplace(node.target.name, std::move(node));
  return absl::OkStatus();
}

}  // namespace

void ControlMethods::add_nodes() {
  std::vector<Parameter> parameters{
      node_name(),
      control::text("alias_name", "a name for people"),
      maps_parameter(),
      required(objects("luns", "its LUNs", lun_parameters())),
      control::number("queue_depth", "no effect: the window is this daemon's", 1),
      control::only("header_digest", false, "iSER has none: RDMA protects headers"),
      control::only("data_digest", false, "iSER has none: RDMA protects data")};
  for (Parameter& each : auth_parameters()) parameters.push_back(std::move(each));
  add_change("iscsi_create_target_node", "serve a target", std::move(parameters), create_node);
  add_change("iscsi_delete_target_node", "end a target; its sessions end", {node_name()},
             [](const Given& given, ControlDocument& document) {
               const auto node = node_of(document, given);
               if (node.ok()) document.nodes.erase(std::string((*node)->target.name));
               return node.status();
             });
  add_query("iscsi_get_target_nodes", "the targets", {control::text("name", "this one only")},
            [this](const Given& given) -> control::Result {
              json::array all;
              const std::string name = iscsi::normal_iscsi_name(given.text("name"));
              for (const auto& [each, node] : document_.nodes) {
                if (name.empty() || each == name) all.push_back(shown_node(node));
              }
              if (!name.empty() && all.empty()) {
                return absl::NotFoundError(absl::StrCat("there is no target ", name));
              }
              return all;
            });
}

void ControlMethods::add_node_parts() {
  const auto add = [this](std::string name, std::string summary, std::vector<Parameter> parameters,
                          auto edit) {
    parameters.insert(parameters.begin(), node_name());
    add_change(std::move(name), std::move(summary), std::move(parameters),
               [edit](const Given& given, ControlDocument& document) {
                 const auto node = node_of(document, given);
                 return node.ok() ? edit(given, document, **node) : node.status();
               });
  };
  add("iscsi_target_node_add_lun", "serve a storage as a LUN", lun_parameters(),
      [](const Given& given, ControlDocument&, TargetNode& node) { return add_lun(given, node); });
  add("mrpool_iscsi_target_node_remove_lun", "end a LUN",
      {required(control::number("lun_id", "the LUN", 0, kMaxLuns - 1))},
      [](const Given& given, ControlDocument&, TargetNode& node) -> absl::Status {
        const uint64_t number = given.number("lun_id");
        if (std::erase_if(node.target.luns,
                          [&](const LunConfig& each) { return each.lun == number; }) != 0) {
          return absl::OkStatus();
        }
        return absl::NotFoundError(absl::StrCat(node.target.name, " has no LUN ", number));
      });
  add("iscsi_target_node_set_auth", "which accounts a target asks for", auth_parameters(),
      [](const Given& given, ControlDocument& document, TargetNode& node) {
        const auto auth = auth_of(document, given);
        if (auth.ok()) node.auth = *auth;
        return auth.status();
      });
  add("iscsi_target_node_add_pg_ig_maps", "admit more initiators", {maps_parameter()},
      [](const Given& given, ControlDocument& document, TargetNode& node) {
        return add_maps(given, document, node);
      });
  add("iscsi_target_node_remove_pg_ig_maps", "no longer admit initiators", {maps_parameter()},
      [](const Given& given, ControlDocument&, TargetNode& node) -> absl::Status {
        for (const Given& each : objects_of(given, "pg_ig_maps")) {
          const std::pair map{uint32_t(each.number("pg_tag")), uint32_t(each.number("ig_tag"))};
          if (std::erase(node.maps, map) != 0) continue;
          return absl::NotFoundError(
              absl::StrCat(node.target.name, " has no map ", map.first, ":", map.second));
        }
        return absl::OkStatus();
      });
}

void ControlMethods::add_save() {
  add_query("save_config", "write what is served to the file of --config",
            {control::only("write", true, "an answer would have the secrets")},
            [this](const Given&) -> control::Result {
              const auto config = served_config(document_);
              if (!config.ok()) return config.status();
              const auto path = holder_.save(*config);
              if (!path.ok()) return path.status();
              return json::object{{"path", *path}};
            });
}

}  // namespace mrpool::iser_target
