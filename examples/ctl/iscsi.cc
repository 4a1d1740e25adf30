// Targets, LUNs and initiators of mrpool-iser-target.
#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <memory>
#include <set>

#include "absl/strings/str_cat.h"
#include "examples/ctl/commands.h"
#include "examples/ctl/table.h"

namespace mrpool::ctl {

namespace json = boost::json;

namespace {

constexpr std::string_view kKind = "iser";
constexpr const char* kIqn = "iqn.2026-11.org.example:disk";

// The values of the options of these commands.
struct Words {
  std::string target;
  std::string alias;
  std::string store;
  std::string storage;
  std::vector<std::string> storages;
  std::vector<std::string> initiators;
  std::string state;
  std::optional<uint32_t> lun;
};

absl::Status missing(const char* what) { return absl::InvalidArgumentError(what); }

// The initiator groups of a target.
std::set<uint64_t> groups_of(const json::value& target) {
  std::set<uint64_t> tags;
  for (const json::value& map : list(target, "pg_ig_maps")) tags.insert(number(map, "ig_tag"));
  return tags;
}

// The names of the initiators in these groups.
absl::StatusOr<json::array> initiators_of(Conversation& conversation, const json::value& target) {
  const auto groups = conversation.ask("iscsi_get_initiator_groups");
  if (!groups.ok()) return groups.status();
  const std::set<uint64_t> tags = groups_of(target);
  json::array names;
  for (const json::value& group : list(*groups, "")) {
    if (!tags.contains(number(group, "tag"))) continue;
    for (const json::value& name : list(group, "initiators")) names.push_back(name);
  }
  return names;
}

absl::StatusOr<json::value> target_of(Conversation& conversation, const std::string& name) {
  const auto answer = conversation.ask("iscsi_get_target_nodes", {{"name", name}});
  if (!answer.ok()) return answer.status();
  const json::array& found = list(*answer, "");
  if (!found.empty()) return found[0];
  return absl::NotFoundError(absl::StrCat("there is no target ", name));
}

absl::Status print_targets(Conversation& conversation) {
  const auto answer = conversation.ask("iscsi_get_target_nodes");
  if (!answer.ok()) return answer.status();
  Table table({"TARGET", "ALIAS", ">LUNS", "PROOF", "INITIATORS"});
  for (const json::value& each : list(*answer, "")) {
    const auto names = initiators_of(conversation, each);
    if (!names.ok()) return names.status();
    const bool asks = number(each, "chap_group") != 0 && shown(each, "disable_chap") != "yes";
    table.row({shown(each, "name"), shown(each, "alias_name"),
               absl::StrCat(list(each, "luns").size()), asks ? "CHAP" : "none", shown(*names, "")});
  }
  return conversation.print(*answer, table.text());
}

absl::Status print_luns(Conversation& conversation, const std::string& name) {
  const auto target = target_of(conversation, name);
  if (!target.ok()) return target.status();
  Table table({">LUN", "STORE", ">GROUP", "STATE"});
  for (const json::value& each : list(*target, "luns")) {
    table.row({shown(each, "lun_id"), shown(each, "bdev_name"), shown(each, "alua_group"),
               shown(each, "alua_state")});
  }
  return conversation.print(list(*target, "luns"), table.text());
}

absl::Status print_connections(Conversation& conversation) {
  const auto answer = conversation.ask("iscsi_get_connections");
  if (!answer.ok()) return answer.status();
  Table table({"TARGET", "INITIATOR", "ADDRESS", "PORTAL", ">TSIH"});
  for (const json::value& each : list(*answer, "")) {
    table.row({shown(each, "target_node_name"), shown(each, "initiator_name"),
               shown(each, "initiator_addr"), shown(each, "target_addr"), shown(each, "tsih")});
  }
  return conversation.print(*answer, table.text());
}

// Makes a separate group for the initiators, and uses all portals.
absl::Status create_target(Conversation& conversation, const Words& words) {
  if (words.storages.empty()) return missing("--lun is missing; for example --lun ram:64MiB");
  const auto portals = conversation.ask("iscsi_get_portal_groups");
  if (!portals.ok()) return portals.status();
  const auto groups = conversation.ask("iscsi_get_initiator_groups");
  if (!groups.ok()) return groups.status();
  uint64_t tag = 1;
  for (const json::value& each : list(*groups, "")) tag = std::max(tag, number(each, "tag") + 1);
  json::array maps, luns, names(words.initiators.begin(), words.initiators.end());
  if (names.empty()) names.emplace_back("ANY");
  for (const json::value& each : list(*portals, "")) {
    maps.push_back(json::object{{"pg_tag", number(each, "tag")}, {"ig_tag", tag}});
  }
  for (const std::string& storage : words.storages) {
    luns.push_back(json::object{{"bdev_name", storage}});
  }
  const auto made =
      conversation.ask("iscsi_create_initiator_group", {{"tag", tag}, {"initiators", names}});
  if (!made.ok()) return made.status();
  absl::Status status = conversation.change(
      "iscsi_create_target_node",
      {{"name", words.target}, {"alias_name", words.alias}, {"pg_ig_maps", maps}, {"luns", luns}},
      "created " + words.target);
  if (!status.ok()) (void)conversation.ask("iscsi_delete_initiator_group", {{"tag", tag}});
  return status;
}

// Changes the groups of the target, which other targets may share.
absl::Status change_initiators(Conversation& conversation, const Words& words, const char* method,
                               const char* done) {
  if (words.initiators.empty()) return missing("--initiator is missing; write a name, or ANY");
  const auto target = target_of(conversation, words.target);
  if (!target.ok()) return target.status();
  const std::set<uint64_t> tags = groups_of(*target);
  if (tags.empty()) return absl::NotFoundError(words.target + " has no initiator group");
  const json::array names(words.initiators.begin(), words.initiators.end());
  return conversation.change(method, {{"tag", *tags.begin()}, {"initiators", names}}, done);
}

absl::Status add_lun(Conversation& conversation, const Words& words) {
  const std::string& what = words.store.empty() ? words.storage : words.store;
  if (what.empty()) {
    return missing(
        "--store is missing; store list shows them; or write --storage, as "
        "file:/srv/disk.img");
  }
  json::object parameters{{"name", words.target}, {"bdev_name", what}};
  if (words.lun) parameters["lun_id"] = *words.lun;
  return conversation.change("iscsi_target_node_add_lun", parameters, "added " + what);
}

absl::Status check_state(std::string_view text) {
  constexpr std::string_view kStates[] = {"optimized", "non_optimized", "standby", "unavailable",
                                          "transitioning"};
  if (std::ranges::find(kStates, text) != std::end(kStates)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "'", std::string(text),
      "' is not a state; use optimized, non_optimized, standby, unavailable or transitioning"));
}

absl::Status set_state(Conversation& conversation, const Words& words) {
  if (words.state.empty()) {
    return missing(
        "--state is missing: optimized, non_optimized, standby, unavailable or transitioning");
  }
  json::object parameters{{"name", words.target}, {"alua_state", words.state}};
  if (words.lun) parameters["lun_id"] = *words.lun;
  return conversation.change(
      "mrpool_iscsi_target_node_set_alua_state", parameters,
      absl::StrCat(words.lun ? absl::StrCat("LUN ", *words.lun) : "all LUNs", ": ", words.state));
}

base::CommandLine& add_alua(Commands& commands, const std::shared_ptr<Words>& words) {
  base::CommandLine& set =
      commands.add("alua-set", "set the ALUA state of LUNs; initiators learn it at once", kKind,
                   [words](Conversation& conversation) { return set_state(conversation, *words); });
  set.required("--state STATE");
  set.option("state", "STATE", "optimized, non_optimized, standby, unavailable or transitioning",
             [words](std::string_view text) {
               words->state = text;
               return check_state(text);
             });
  set.count("lun", "the LUN (default: all)", words->lun);
  return set;
}

}  // namespace

void add_targets(Commands& commands) {
  const auto words = std::make_shared<Words>();
  commands.add("target-list", "list the iSCSI targets", kKind, print_targets);
  commands.add("connections", "list the initiators that are logged in", kKind, print_connections);
  base::CommandLine& create = commands.add(
      "target-create", "serve an iSCSI target at every portal", kKind,
      [words](Conversation& conversation) { return create_target(conversation, *words); });
  create.required("--lun STORAGE");
  create.option("lun", "TEXT",
                "a store, or ram:SIZE, null:SIZE or file:PATH, with options; may be repeated",
                [words](std::string_view text) {
                  words->storages.emplace_back(text);
                  return absl::OkStatus();
                });
  create.repeatable();
  create.text("alias", "TEXT", "a descriptive name", words->alias);
  base::CommandLine& remove = commands.add(
      "target-delete", "delete an iSCSI target and end its sessions", kKind,
      [words](Conversation& conversation) {
        return conversation.change("iscsi_delete_target_node", {{"name", words->target}},
                                   "deleted " + words->target);
      });
  base::CommandLine& show = commands.add(
      "lun-list", "list the LUNs of a target", kKind,
      [words](Conversation& conversation) { return print_luns(conversation, words->target); });
  base::CommandLine& add =
      commands.add("lun-add", "serve a store as a LUN", kKind,
                   [words](Conversation& conversation) { return add_lun(conversation, *words); });
  add.required("--store NAME");
  add.text("store", "TEXT", "the name of the store", words->store);
  add.text("storage", "TEXT", "or one of its own: ram:SIZE, null:SIZE or file:PATH, with options",
           words->storage);
  add.excludes("store", {"storage"}, "a LUN serves one of them");
  base::CommandLine& end =
      commands.add("lun-remove", "end a LUN", kKind, [words](Conversation& conversation) {
        if (!words->lun) return missing("--lun is missing; lun list shows them");
        return conversation.change("mrpool_iscsi_target_node_remove_lun",
                                   {{"name", words->target}, {"lun_id", *words->lun}},
                                   absl::StrCat("removed LUN ", *words->lun));
      });
  end.required("--lun N");
  for (base::CommandLine* each : {&add, &end}) each->count("lun", "its number", words->lun);
  base::CommandLine& alua = add_alua(commands, words);
  base::CommandLine& admit = commands.add(
      "initiator-add", "let an initiator log in", kKind, [words](Conversation& conversation) {
        return change_initiators(conversation, *words, "iscsi_initiator_group_add_initiators",
                                 "admitted");
      });
  base::CommandLine& refuse = commands.add(
      "initiator-remove", "no longer let an initiator log in; its sessions end", kKind,
      [words](Conversation& conversation) {
        return change_initiators(conversation, *words, "iscsi_initiator_group_remove_initiators",
                                 "no longer admitted");
      });
  for (base::CommandLine* each : {&create, &admit, &refuse}) {
    each->option("initiator", "TEXT", "an initiator's name, or ANY; may be repeated",
                 [words](std::string_view text) {
                   words->initiators.emplace_back(text);
                   return absl::OkStatus();
                 });
    each->repeatable();
  }
  for (base::CommandLine* each : {&create, &remove, &show, &add, &end, &alua, &admit, &refuse}) {
    each->operand("IQN", "the target's name", kIqn, words->target);
  }
}

}  // namespace mrpool::ctl
