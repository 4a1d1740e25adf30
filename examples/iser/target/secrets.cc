#include "examples/iser/target/secrets.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "examples/base/json_lines.h"

namespace mrpool::iser_target {
namespace {

absl::Status wrong(const std::string& where, const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat(where, ": ", what));
}

// The secrets seen so far, with their purposes and places.
class Secrets {
 public:
  absl::Status add(const std::optional<iscsi::Credentials>& account, const std::string& purpose,
                   const std::string& where) {
    if (!account) return absl::OkStatus();
    const auto [at, added] = uses_.try_emplace(account->secret, Use{purpose, where});
    if (added || at->second.purpose == purpose) return absl::OkStatus();
    return wrong(where,
                 absl::StrCat("has the secret of ", at->second.where,
                              "; they must differ (RFC 7143 section 9.2.1): a peer that knows "
                              "it for one could use it for the other"));
  }

 private:
  struct Use {
    std::string purpose;
    std::string where;
  };
  std::map<std::string, Use> uses_;
};

absl::Status check_mutual(const iscsi::Authentication& authentication, const std::string& where) {
  if (!authentication.outgoing || authentication.incoming) return absl::OkStatus();
  return wrong(where, "mutual CHAP needs one-way CHAP; give --chap or \"chap\" too");
}

// The initiators that log in with the target's own account.
std::vector<std::string> users_of_the_targets_account(const TargetConfig& target) {
  std::vector<std::string> names;
  for (const InitiatorConfig& initiator : *target.initiators) {
    if (!initiator.authentication.incoming) names.push_back(initiator.name);
  }
  return names;
}

// Finds the purpose of the target's own account; an error if it has none or more than one.
absl::Status check_account(const TargetConfig& target, std::string& purpose) {
  purpose = absl::StrCat("everybody at ", target.name);
  if (!target.authentication.incoming || !target.initiators || target.initiators->empty()) {
    return absl::OkStatus();
  }
  const std::vector<std::string> users = users_of_the_targets_account(target);
  if (users.empty()) {
    return wrong(target.name,
                 "every initiator has its own account, so the target's \"chap\" is "
                 "unused; leave it out");
  }
  if (users.size() > 1) {
    return wrong(target.name,
                 absl::StrCat(users[0], " and ", users[1], " have one account (\"",
                              target.authentication.incoming->user,
                              "\"), so each could be the other; give each initiator its own: "
                              "{\"name\": \"",
                              users[0], "\", \"chap\": \"user:secret\"}, or --initiator-chap"));
  }
  purpose = absl::StrCat("initiator ", users[0]);
  return absl::OkStatus();
}

absl::Status check_target(const TargetConfig& target, Secrets& secrets) {
  if (absl::Status status = check_mutual(target.authentication, target.name);
      !status.ok() && (!target.initiators || target.initiators->empty())) {
    return status;
  }
  std::string purpose;
  if (absl::Status status = check_account(target, purpose); !status.ok()) return status;
  const std::string own = absl::StrCat("target ", target.name);
  absl::Status status =
      secrets.add(target.authentication.incoming, purpose, absl::StrCat(target.name, ", chap"));
  status.Update(
      secrets.add(target.authentication.outgoing, own, absl::StrCat(target.name, ", mutual_chap")));
  if (!status.ok() || !target.initiators) return status;
  for (const InitiatorConfig& initiator : *target.initiators) {
    const std::string where = absl::StrCat(target.name, ", initiator ", initiator.name);
    if (absl::Status mutual = check_mutual(*target.account(initiator.name), where); !mutual.ok()) {
      return mutual;
    }
    status.Update(secrets.add(initiator.authentication.incoming,
                              absl::StrCat("initiator ", initiator.name),
                              absl::StrCat(where, ", chap")));
    status.Update(
        secrets.add(initiator.authentication.outgoing, own, absl::StrCat(where, ", mutual_chap")));
    if (!status.ok()) return status;
  }
  return status;
}

}  // namespace

absl::Status check_secrets(const Config& config) {
  if (absl::Status status = check_mutual(config.discovery, "discovery"); !status.ok()) {
    return status;
  }
  if (config.open_discovery && config.discovery.incoming) {
    return wrong(
        "discovery",
        "--open-discovery and --discovery-chap contradict each other; leave one of them out");
  }
  Secrets secrets;
  absl::Status status =
      secrets.add(config.discovery.incoming, "discovery", "discovery, discovery_chap");
  status.Update(secrets.add(config.discovery.outgoing, "discovery proves itself",
                            "discovery, discovery_mutual_chap"));
  if (!status.ok()) return status;
  for (const TargetConfig& target : config.targets) {
    status = check_target(target, secrets);
    if (!status.ok()) {
      return absl::InvalidArgumentError(absl::StrCat(base::at_line(target.line), status.message()));
    }
  }
  return status;
}

}  // namespace mrpool::iser_target
