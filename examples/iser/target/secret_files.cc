#include "examples/iser/target/secret_files.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "examples/storage/descriptor.h"

namespace mrpool::iser_target {
namespace {

constexpr absl::string_view kCredential = "credential:";

absl::Status bad(const std::string& why) { return absl::InvalidArgumentError(why); }

// systemd makes the credentials directory accessible to this process only.
absl::StatusOr<std::string> credential_path(const std::string& name) {
  const char* const folder = std::getenv("CREDENTIALS_DIRECTORY");
  if (folder == nullptr) {
    return bad(absl::StrCat("credential:", name,
                            ": the service manager passes no credentials; write LoadCredential=",
                            name, ":/etc/mrpool/", name, " into the unit"));
  }
  if (name.empty() || name[0] == '.' || name.find('/') != name.npos) {
    return bad(absl::StrCat("credential:", name, " is no name of a credential"));
  }
  return absl::StrCat(folder, "/", name);
}

// A user who can read the file knows the secret; one who can write it can choose the secret.
absl::Status check_mode(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) {
    return bad(absl::StrCat(path, ": cannot be read: ", std::strerror(errno)));
  }
  if (info.st_uid != 0 && info.st_uid != ::geteuid()) {
    return bad(absl::StrCat(path, " belongs to user ", info.st_uid,
                            ", who could change the secret; chown it to root or to user ",
                            ::geteuid()));
  }
  const bool of_our_group = info.st_gid == ::getegid();
  const mode_t wrong = info.st_mode & (of_our_group ? S_IWGRP | S_IRWXO : S_IRWXG | S_IRWXO);
  if (wrong == 0) return absl::OkStatus();
  return bad(absl::StrCat(path, " has mode 0", absl::Hex((info.st_mode >> 6) & 7),
                          absl::Hex((info.st_mode >> 3) & 7), absl::Hex(info.st_mode & 7),
                          ", so that others can read or change the secret; chmod 0600 ", path));
}

// Reads one direction of an account.
absl::Status fill(const std::string& place, const std::string& where,
                  std::optional<iscsi::Credentials>& to) {
  if (place.empty()) return absl::OkStatus();
  auto account = read_account(place);
  if (!account.ok()) return bad(absl::StrCat(where, ": ", account.status().message()));
  to = *std::move(account);
  return absl::OkStatus();
}

absl::Status fill(const AccountFiles& files, const std::string& where, iscsi::Authentication& to) {
  absl::Status status = fill(files.incoming, where, to.incoming);
  status.Update(fill(files.outgoing, where, to.outgoing));
  return status;
}

bool has_secret_of_its_own(const iscsi::Authentication& accounts, const AccountFiles& files) {
  return (accounts.incoming && files.incoming.empty()) ||
         (accounts.outgoing && files.outgoing.empty());
}

}  // namespace

absl::StatusOr<iscsi::Credentials> read_account(const std::string& place) {
  std::string path = place;
  if (absl::StartsWith(place, kCredential)) {
    auto found = credential_path(place.substr(kCredential.size()));
    if (!found.ok()) return found.status();
    path = *std::move(found);
  } else if (absl::Status status = check_mode(path); !status.ok()) {
    return status;
  }
  const auto text = storage::read_text(path);
  if (!text.ok()) return bad(std::string(text.status().message()));
  iscsi::Credentials credentials;
  const std::string line(absl::StripSuffix(absl::StripSuffix(*text, "\n"), "\r"));
  absl::Status status = iscsi::parse_credentials(line, credentials);
  if (line.find('\n') != line.npos) status = bad("it has more than one line");
  if (!status.ok()) return bad(absl::StrCat(path, ": ", status.message()));
  return credentials;
}

absl::Status read_secret_files(Config& config) {
  if (absl::Status status = fill(config.discovery_files, "discovery", config.discovery);
      !status.ok()) {
    return status;
  }
  for (TargetConfig& target : config.targets) {
    if (absl::Status status = fill(target.files, target.name, target.authentication);
        !status.ok()) {
      return status;
    }
    if (!target.initiators) continue;
    for (InitiatorConfig& initiator : *target.initiators) {
      const std::string where = absl::StrCat(target.name, ", initiator ", initiator.name);
      if (absl::Status status = fill(initiator.files, where, initiator.authentication);
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
