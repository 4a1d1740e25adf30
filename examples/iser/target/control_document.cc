#include "examples/iser/target/control_document.h"

#include <algorithm>
#include <optional>
#include <set>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace mrpool::iser_target {
namespace {

template <typename... Parts>
absl::Status unfit(const Parts&... parts) {
  return absl::FailedPreconditionError(absl::StrCat(parts...));
}

GroupAccount account_of(const iscsi::Authentication& of, std::string initiator) {
  GroupAccount account{.initiator = std::move(initiator)};
  if (of.incoming) account.user = of.incoming->user, account.secret = of.incoming->secret;
  if (of.outgoing) account.muser = of.outgoing->user, account.msecret = of.outgoing->secret;
  return account;
}

// True if the account has a secret.
bool proves(const GroupAccount& account) { return !account.user.empty(); }

iscsi::Authentication authentication_of(const GroupAccount& account, bool mutual) {
  iscsi::Authentication to;
  if (proves(account)) to.incoming = {account.user, account.secret};
  if (mutual && !account.muser.empty()) to.outgoing = {account.muser, account.msecret};
  return to;
}

std::set<uint32_t> portals_of(const TargetNode& node) {
  std::set<uint32_t> tags;
  for (const auto& [portal, initiator] : node.maps) tags.insert(portal);
  return tags;
}

// The access list of a target node: the initiators and their secrets.
class Admission {
 public:
  Admission(const ControlDocument& document, const TargetNode& node, TargetConfig& to)
      : document_(document), node_(node), to_(to) {}

  absl::Status fill() {
    for (const auto& [portal, tag] : node_.maps) {
      for (const std::string& name : document_.initiators.at(tag)) {
        if (name == kAnybody) anybody_ = true;
        names_.insert(name);
      }
    }
    if (!anybody_) {
      to_.initiators.emplace();
      for (const std::string& name : names_) {
        to_.initiators->push_back({.name = name, .authentication = {}});
      }
    }
    const NodeAuth& auth = node_.auth;
    if (auth.disable_chap || auth.chap_group == 0) {
      if (!auth.require_chap) return absl::OkStatus();
      return unfit(to_.name,
                   ": require_chap needs a chap_group with an account, and no disable_chap");
    }
    return fill_accounts(document_.accounts.at(auth.chap_group));
  }

 private:
  absl::Status fill_accounts(const std::vector<GroupAccount>& accounts) {
    for (const GroupAccount& account : accounts) {
      iscsi::Authentication proof = authentication_of(account, node_.auth.mutual_chap);
      if (account.initiator.empty()) {
        if (general_) {
          return unfit(
              to_.name, ": group ", node_.auth.chap_group,
              " has more than one account without an initiator; name the initiator of each");
        }
        general_ = proof.incoming.has_value();
        to_.authentication = std::move(proof);
        continue;
      }
      if (anybody_) {
        return unfit(to_.name, ": initiator ", account.initiator,
                     " has an account of its own, and any initiator may log in; list them instead");
      }
      const auto listed =
          std::ranges::find(*to_.initiators, account.initiator, &InitiatorConfig::name);
      if (listed != to_.initiators->end()) listed->authentication = std::move(proof);
    }
    return check_proofs();
  }

  // A target with a group of accounts admits no initiator without an account.
  absl::Status check_proofs() const {
    if (general_) return absl::OkStatus();
    if (anybody_) return unfit(to_.name, ": group ", node_.auth.chap_group, " has no account");
    for (const InitiatorConfig& each : *to_.initiators) {
      if (each.authentication.incoming) continue;
      return unfit(to_.name, ": initiator ", each.name, " has no account in group ",
                   node_.auth.chap_group);
    }
    return absl::OkStatus();
  }

  const ControlDocument& document_;
  const TargetNode& node_;
  TargetConfig& to_;
  std::set<std::string> names_;
  bool anybody_ = false;
  bool general_ = false;
};

// All target nodes have the same portal groups; the daemon listens on these, or on all groups if
// there is no node.
absl::Status choose_portals(const ControlDocument& document, std::vector<std::string>& listen) {
  std::optional<std::set<uint32_t>> used;
  std::string first;
  for (const auto& [name, node] : document.nodes) {
    if (node.maps.empty()) return unfit(name, " has no portal group; map one, or delete it");
    const std::set<uint32_t> tags = portals_of(node);
    if (used && tags != *used) {
      return unfit(name, " has the portal groups ", absl::StrJoin(tags, ", "), " and ", first,
                   " has ", absl::StrJoin(*used, ", "),
                   ", but every portal serves every target here; use the same groups");
    }
    used = tags;
    first = name;
  }
  for (const auto& [tag, addresses] : document.portals) {
    if (used && !used->contains(tag)) continue;
    listen.insert(listen.end(), addresses.begin(), addresses.end());
  }
  return absl::OkStatus();
}

NodeAuth auth_from(const TargetConfig& target, uint32_t tag, ControlDocument& to) {
  std::vector<GroupAccount> accounts;
  bool mutual = false;
  const auto add = [&](const iscsi::Authentication& of, const std::string& initiator) {
    if (of == iscsi::Authentication{}) return;
    mutual = mutual || of.outgoing.has_value();
    accounts.push_back(account_of(of, initiator));
  };
  add(target.authentication, {});
  if (target.initiators) {
    for (const InitiatorConfig& each : *target.initiators) {
      if (each.authentication == iscsi::Authentication{}) continue;
      add(*target.account(each.name), each.name);
    }
  }
  if (accounts.empty()) return {};
  to.accounts[tag] = std::move(accounts);
  return {.mutual_chap = mutual, .chap_group = tag};
}

}  // namespace

ControlDocument ControlDocument::from(const Config& config) {
  ControlDocument to;
  to.rest = config;
  to.rest.listen.clear();
  to.rest.targets.clear();
  to.portals[1] = config.listen;
  uint32_t tag = 0;
  for (const TargetConfig& target : config.targets) {
    ++tag;
    TargetNode& node = to.nodes[target.name];
    node.target = target;
    const std::vector<uint16_t> numbers = lun_numbers(target);
    for (size_t i = 0; i < numbers.size(); ++i) node.target.luns[i].lun = numbers[i];
    node.maps = {{1, tag}};
    std::vector<std::string>& names = to.initiators[tag];
    if (!target.initiators) {
      names.emplace_back(kAnybody);
    } else {
      for (const InitiatorConfig& each : *target.initiators) names.push_back(each.name);
    }
    node.auth = auth_from(target, tag, to);
    node.target.authentication = {};
    node.target.initiators.reset();
  }
  if (config.discovery.incoming) {
    to.accounts[++tag] = {account_of(config.discovery, {})};
    to.discovery = {.mutual_chap = config.discovery.outgoing.has_value(), .chap_group = tag};
  }
  return to;
}

absl::StatusOr<Config> ControlDocument::to_config() const {
  Config config = rest;
  config.discovery = {};
  if (absl::Status status = choose_portals(*this, config.listen); !status.ok()) return status;
  for (const auto& [name, node] : nodes) {
    TargetConfig& target = config.targets.emplace_back(node.target);
    if (absl::Status status = Admission(*this, node, target).fill(); !status.ok()) return status;
  }
  if (discovery.chap_group == 0 || discovery.disable_chap) return config;
  const std::vector<GroupAccount>& group = accounts.at(discovery.chap_group);
  if (group.size() != 1 || !proves(group[0])) {
    return unfit("discovery: group ", discovery.chap_group, " must have one account");
  }
  config.discovery = authentication_of(group[0], discovery.mutual_chap);
  config.open_discovery = false;
  return config;
}

}  // namespace mrpool::iser_target
