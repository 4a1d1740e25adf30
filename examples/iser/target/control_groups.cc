// The methods that change groups: portals, initiators, accounts.
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "examples/control/parameters.h"
#include "examples/iser/target/control_answers.h"
#include "examples/iser/target/control_given.h"
#include "examples/iser/target/control_methods.h"
#include "examples/protocol/iscsi/chap.h"
#include "examples/protocol/iscsi/text.h"
#include "mrpool/device.h"

namespace mrpool::iser_target {

using control::Given;
using control::Parameter;

namespace {

// The scheme of the existing addresses, such as "verbs"; a host may specify another.
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
  const std::string options = portal.text("options");
  const std::string address =
      absl::StrCat(whole ? "" : transport_of(document) + "://", bare ? "[" : "", host,
                   bare ? "]" : "", ":", port, options.empty() ? "" : "?", options);
  const auto parsed = Address::parse(address);
  if (!parsed.ok()) return parsed.status();
  return address;
}

}  // namespace

void ControlMethods::add_portal_groups() {
  add_change(
      "iscsi_create_portal_group", "create a group of addresses for targets",
      {tag(),
       required(objects("portals", "the addresses",
                        {required(control::text("host", "as 10.0.0.1, or uiwarp://10.0.0.1")),
                         control::text("port", "default: 3260"),
                         control::text("options", "of the address, as tls=psk&tls-psk=FILE")})),
       control::only("private", false, "discovery does not hide portals"),
       control::only("wait", false, "the daemon listens on a group while targets use it")},
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
  add_change("iscsi_delete_portal_group", "delete a portal group that no target uses", {tag()},
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
  add_query("iscsi_get_portal_groups", "the groups of addresses", {},
            [this](const Given&) { return control::Result(shown_portal_groups(document())); });
}

namespace {

absl::Status add_names(const Given& given, std::vector<std::string>& to) {
  for (const std::string& text : given.texts("initiators")) {
    const std::string name = text == kAnybody ? text : iscsi::normal_iscsi_name(text);
    if (name != kAnybody && !iscsi::valid_written_name(name)) {
      return bad("\"", text, "\" is not an iSCSI name; write iqn.2026-11.org.example:host, or ANY");
    }
    if (std::ranges::find(to, name) == to.end()) to.push_back(name);
  }
  for (const std::string& mask : given.texts("netmasks")) {
    if (mask == kAnybody) continue;
    return bad("netmask \"", mask, "\": initiators are identified by their names only; write ANY");
  }
  return absl::OkStatus();
}

}  // namespace

void ControlMethods::add_initiator_groups() {
  const std::vector<Parameter> parameters{tag(), control::texts("initiators", "names, or ANY"),
                                          control::texts("netmasks", "only ANY")};
  add_change("iscsi_create_initiator_group", "create a group of initiators that may log in",
             parameters, [](const Given& given, ControlDocument& document) {
               absl::Status status = not_there(document.initiators, tag_of(given), "initiator");
               if (!status.ok()) return status;
               return add_names(given, document.initiators[tag_of(given)]);
             });
  add_change("iscsi_delete_initiator_group", "delete an initiator group that no target uses",
             {tag()}, [](const Given& given, ControlDocument& document) {
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
  add_query("iscsi_get_initiator_groups", "the groups of initiators", {},
            [this](const Given&) { return control::Result(shown_initiator_groups(document())); });
}

namespace {

std::vector<Parameter> account_parameters() {
  return {required(control::text("user", "the user name of the initiator")),
          required(control::text("secret", "12 to 255 bytes")),
          control::text("muser", "the user name of the target"),
          control::text("msecret", "12 to 255 bytes"),
          control::text("initiator", "the only initiator that may use it; default: all")};
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
  add_change("iscsi_create_auth_group", "create a group of accounts for initiators",
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
  add_change("iscsi_delete_auth_group", "delete a group of accounts that no target uses", {tag()},
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
  add_change("iscsi_auth_group_remove_secret", "remove an account from a group",
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
            [this](const Given&) { return control::Result(shown_auth_groups(document())); });
  add_change("iscsi_set_discovery_auth", "set the account of discovery", auth_parameters(),
             [](const Given& given, ControlDocument& document) {
               const auto auth = auth_of(document, given);
               if (auth.ok()) document.discovery = *auth;
               return auth.status();
             });
}

}  // namespace mrpool::iser_target
