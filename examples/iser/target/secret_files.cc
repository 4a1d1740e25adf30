#include "examples/iser/target/secret_files.h"

#include <sys/stat.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "examples/base/secret_file.h"
#include "examples/engine/privileges.h"

namespace mrpool::iser_target {
namespace {

absl::Status bad(const std::string& why) { return absl::InvalidArgumentError(why); }

// Reads one direction of an account.
absl::Status fill(const std::string& place, const base::ActingUser& reader,
                  const std::string& where, std::optional<iscsi::Credentials>& to) {
  if (place.empty()) return absl::OkStatus();
  auto account = read_account(place, reader);
  if (!account.ok()) return bad(absl::StrCat(where, ": ", account.status().message()));
  to = *std::move(account);
  return absl::OkStatus();
}

absl::Status fill(const AccountFiles& files, const base::ActingUser& reader,
                  const std::string& where, iscsi::Authentication& to) {
  absl::Status status = fill(files.incoming, reader, where, to.incoming);
  status.Update(fill(files.outgoing, reader, where, to.outgoing));
  return status;
}

bool any_file(const AccountFiles& files) {
  return !files.incoming.empty() || !files.outgoing.empty();
}

bool any_file(const Config& config) {
  bool some = any_file(config.discovery_files);
  for (const TargetConfig& target : config.targets) {
    some |= any_file(target.files);
    if (!target.initiators) continue;
    for (const InitiatorConfig& each : *target.initiators) some |= any_file(each.files);
  }
  return some;
}

bool has_secret_of_its_own(const iscsi::Authentication& accounts, const AccountFiles& files) {
  return (accounts.incoming && files.incoming.empty()) ||
         (accounts.outgoing && files.outgoing.empty());
}

}  // namespace

absl::StatusOr<iscsi::Credentials> read_account(const std::string& place,
                                                const base::ActingUser& reader) {
  const absl::StatusOr<std::string> line = base::read_secret(place, reader);
  if (!line.ok()) return line.status();
  iscsi::Credentials credentials;
  const absl::Status status = iscsi::parse_credentials(*line, credentials);
  if (!status.ok()) return bad(absl::StrCat(place, ": ", status.message()));
  return credentials;
}

absl::Status read_secret_files(const std::string& user, Config& config) {
  if (!any_file(config)) return absl::OkStatus();
  const auto reader = engine::later_user(user);
  if (!reader.ok()) return reader.status();
  if (absl::Status status = fill(config.discovery_files, *reader, "discovery", config.discovery);
      !status.ok()) {
    return status;
  }
  for (TargetConfig& target : config.targets) {
    if (absl::Status status = fill(target.files, *reader, target.name, target.authentication);
        !status.ok()) {
      return status;
    }
    if (!target.initiators) continue;
    for (InitiatorConfig& initiator : *target.initiators) {
      const std::string where = absl::StrCat(target.name, ", initiator ", initiator.name);
      if (absl::Status status = fill(initiator.files, *reader, where, initiator.authentication);
          !status.ok()) {
        return status;
      }
    }
  }
  return absl::OkStatus();
}

std::string exposed_secrets(const std::string& path, const Config& config) {
  bool some = has_secret_of_its_own(config.discovery, config.discovery_files);
  for (const TargetConfig& target : config.targets) {
    some |= has_secret_of_its_own(target.authentication, target.files);
    if (!target.initiators) continue;
    for (const InitiatorConfig& initiator : *target.initiators) {
      some |= has_secret_of_its_own(initiator.authentication, initiator.files);
    }
  }
  struct stat info {};
  if (!some || path.empty() || ::stat(path.c_str(), &info) != 0) return {};
  if ((info.st_mode & S_IRWXO) == 0) return {};
  return absl::StrCat(path,
                      " has secrets, and every user of this machine can read it; chmod o= ", path,
                      ", or write \"chap_file\" in place of \"chap\"");
}

}  // namespace mrpool::iser_target
