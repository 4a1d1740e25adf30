#include "examples/base/secret_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

namespace mrpool::base {
namespace {

constexpr std::string_view kCredential = "credential:";
constexpr size_t kMaxSecret = 4096;

absl::Status bad(const std::string& why) { return absl::InvalidArgumentError(why); }

absl::Status unreadable(const std::string& path) {
  return bad(absl::StrCat(path, ": cannot be read: ", std::strerror(errno)));
}

struct File {
  // Without waiting: for a FIFO, a writer may never come.
  explicit File(const std::string& path)
      : fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {}
  ~File() {
    if (fd >= 0) ::close(fd);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  const int fd;
};

// The directory of credentials belongs to this process alone: systemd sees to it.
absl::StatusOr<std::string> credential_path(const std::string& name) {
  const char* const folder = std::getenv("CREDENTIALS_DIRECTORY");
  if (folder == nullptr) {
    return bad(absl::StrCat("credential:", name,
                            ": the service manager passes no credentials; write LoadCredential=",
                            name, ":/etc/mrpool/", name, " into the unit"));
  }
  if (name.empty() || name[0] == '.' || name.find('/') != name.npos) {
    return bad(absl::StrCat("credential:", name, " is not a name of a credential"));
  }
  return absl::StrCat(folder, "/", name);
}

// Who may read a secret may use it, and who may write it may choose it.
absl::Status check_mode(const std::string& path, const struct stat& info,
                        const ActingUser& reader) {
  if (info.st_uid != 0 && info.st_uid != reader.uid) {
    return bad(absl::StrCat(path, " belongs to user ", info.st_uid,
                            ", who could change the secret; chown it to root or to ",
                            reader.called()));
  }
  const bool of_our_group = info.st_gid == reader.gid;
  const mode_t wrong = info.st_mode & (of_our_group ? S_IWGRP | S_IRWXO : S_IRWXG | S_IRWXO);
  if (wrong == 0) return absl::OkStatus();
  return bad(absl::StrCat(path, " has mode 0", absl::Hex((info.st_mode >> 6) & 7),
                          absl::Hex((info.st_mode >> 3) & 7), absl::Hex(info.st_mode & 7),
                          ", so that others can read or change the secret; chmod 0600 ", path));
}

absl::Status unreadable_for(const std::string& place, const ActingUser& reader) {
  const std::string what = absl::StrCat(place, ": the daemon will run as ", reader.name,
                                        ", which cannot read it: ", std::strerror(errno));
  if (names_credential(place)) {
    return bad(absl::StrCat(what, "; write User=", reader.name,
                            " into the unit in place of \"user\", or give a path"));
  }
  return bad(
      absl::StrCat(what, "; chown ", reader.name, " ", place, ", in folders that it may enter"));
}

absl::Status check_kind(const std::string& path, const struct stat& info) {
  if (S_ISREG(info.st_mode)) return absl::OkStatus();
  return bad(absl::StrCat(path, " is not a regular file; write its content into one"));
}

absl::StatusOr<std::string> read_line(const std::string& path, const File& file) {
  std::array<char, kMaxSecret + 2> room;
  size_t have = 0;
  while (have < room.size()) {
    const ssize_t n = ::read(file.fd, room.data() + have, room.size() - have);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return unreadable(path);
    if (n == 0) break;
    have += size_t(n);
  }
  std::string line(room.data(), have);
  ::explicit_bzero(room.data(), room.size());
  if (line.ends_with('\n')) line.pop_back();
  if (line.ends_with('\r')) line.pop_back();
  if (line.find('\n') != line.npos) return bad(absl::StrCat(path, ": it has more than one line"));
  if (line.size() > kMaxSecret) return bad(absl::StrCat(path, ": its line is too long"));
  return line;
}

}  // namespace

bool names_credential(std::string_view place) { return place.starts_with(kCredential); }

absl::StatusOr<std::string> read_secret_once(const std::string& place, const ActingUser& owner) {
  std::string path = place;
  if (names_credential(place)) {
    auto found = credential_path(place.substr(kCredential.size()));
    if (!found.ok()) return found.status();
    path = *std::move(found);
  }
  const File file(path);
  struct stat info {};
  if (file.fd < 0 || ::fstat(file.fd, &info) != 0) return unreadable(path);
  absl::Status status = check_kind(path, info);
  if (status.ok() && !names_credential(place)) status = check_mode(path, info, owner);
  if (!status.ok()) return status;
  return read_line(path, file);
}

absl::StatusOr<std::string> read_secret(const std::string& place, const ActingUser& reader) {
  auto secret = read_secret_once(place, reader);
  if (!secret.ok() || !reader.is_other()) return secret;
  std::string path = place;
  if (names_credential(place)) path = *credential_path(place.substr(kCredential.size()));
  const ActAs as(reader);
  if (!as.status().ok()) return bad(absl::StrCat(place, ": ", as.status().message()));
  if (const File file(path); file.fd < 0) return unreadable_for(place, reader);
  return secret;
}

absl::Status check_secret_mode(const std::string& path, const ActingUser& reader) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return unreadable(path);
  return check_mode(path, info, reader);
}

}  // namespace mrpool::base
