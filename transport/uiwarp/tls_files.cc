#include "transport/uiwarp/tls_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace mrpool::uiwarp {
namespace {

constexpr std::string_view kCredential = "credential:";
// Certificates of an authority, with all that it has signed, stay below this.
constexpr size_t kMaxFileBytes = 1 << 20;

absl::string_view to_absl(std::string_view text) { return {text.data(), text.size()}; }

absl::Status bad(std::string_view place, absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat(to_absl(place), why));
}

absl::StatusOr<std::string> path_of(const std::string& place) {
  if (!place.starts_with(kCredential)) return place;
  const std::string name = place.substr(kCredential.size());
  const char* const folder = std::getenv("CREDENTIALS_DIRECTORY");
  if (name.empty() || name.front() == '.' || name.find('/') != std::string::npos) {
    return bad(place, " is not a name of a credential");
  }
  if (folder == nullptr) {
    return bad(place, absl::StrCat(": there are no credentials; LoadCredential=", name,
                                   ":FILE in the unit passes one"));
  }
  return absl::StrCat(folder, "/", name);
}

absl::Status check_owner_and_mode(const std::string& place, const struct stat& info, bool secret) {
  const uid_t me = ::geteuid();
  if (info.st_uid != 0 && info.st_uid != me) {
    return bad(place, absl::StrCat(" belongs to user ", info.st_uid,
                                   ", who can change it; root or user ", me, " must own it"));
  }
  // A group may read what root owns: root has chosen the group.
  const bool group_reads = info.st_uid == 0 || info.st_gid == ::getegid();
  const mode_t readers = group_reads ? S_IROTH : S_IRGRP | S_IROTH;
  const mode_t wrong = S_IWGRP | S_IWOTH | (secret ? readers : 0);
  if ((info.st_mode & wrong) == 0) return absl::OkStatus();
  return bad(place,
             absl::StrFormat(" has mode %04o: others can %s it; chmod %s %s",
                             unsigned{info.st_mode} & 07777, secret ? "read or change" : "change",
                             secret ? "0600" : "go-w", place));
}

absl::StatusOr<TlsSecret> read_all(const std::string& place, int fd, size_t bytes) {
  if (bytes > kMaxFileBytes) return bad(place, " is larger than 1 MiB");
  TlsSecret all(std::string(bytes, '\0'));
  size_t have = 0;
  while (have < bytes) {
    const ssize_t n = ::read(fd, all.text.data() + have, bytes - have);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return bad(place, absl::StrCat(" cannot be read: ", std::strerror(errno)));
    if (n == 0) break;
    have += static_cast<size_t>(n);
  }
  all.text.resize(have);
  return all;
}

int digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool decode(std::string_view digits, std::string& bytes) {
  if (digits.size() % 2 != 0) return false;
  bytes.resize(digits.size() / 2);
  for (size_t i = 0; i < bytes.size(); ++i) {
    const int high = digit(digits[2 * i]);
    const int low = digit(digits[2 * i + 1]);
    if (high < 0 || low < 0) return false;
    bytes[i] = static_cast<char>(high * 16 + low);
  }
  return true;
}

bool is_identity(std::string_view text) {
  return !text.empty() && text.size() <= kMaxIdentityBytes &&
         std::ranges::all_of(text, [](char c) { return c > ' ' && c < '\x7f'; });
}

absl::StatusOr<TlsPsk> parse_psk(std::string_view line, absl::string_view where) {
  const size_t colon = line.rfind(':');
  if (colon == std::string_view::npos) {
    return absl::InvalidArgumentError(
        absl::StrCat(where, " has no colon; write IDENTITY:KEY, the key in hexadecimal digits"));
  }
  TlsPsk psk;
  psk.identity = line.substr(0, colon);
  if (!is_identity(psk.identity)) {
    return absl::InvalidArgumentError(absl::StrCat(
        where, ": an identity has 1 to ", kMaxIdentityBytes, " printable characters, no spaces"));
  }
  const std::string_view digits = line.substr(colon + 1);
  if (!decode(digits, psk.key.text) || psk.key.text.size() < kMinPskBytes ||
      psk.key.text.size() > kMaxPskBytes) {
    // Without the identity: it is a key if the two are swapped.
    return absl::InvalidArgumentError(
        absl::StrCat(where, ": the key is not ", 2 * kMinPskBytes, " to ", 2 * kMaxPskBytes,
                     " hexadecimal digits; `openssl rand -hex 32` makes one"));
  }
  return psk;
}

}  // namespace

TlsSecret::~TlsSecret() { ::explicit_bzero(text.data(), text.size()); }

absl::StatusOr<TlsSecret> read_tls_file(const std::string& place, bool secret) {
  const absl::StatusOr<std::string> path = path_of(place);
  if (!path.ok()) return path.status();
  // Without waiting: the writer of a FIFO may never come.
  const int fd = ::open(path->c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return bad(place, absl::StrCat(" cannot be opened: ", std::strerror(errno)));
  struct Closer {
    ~Closer() { ::close(fd); }
    int fd;
  } const closer{fd};
  struct stat info {};
  if (::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode))
    return bad(place, " is not a regular file");
  if (!place.starts_with(kCredential)) {
    if (absl::Status status = check_owner_and_mode(place, info, secret); !status.ok())
      return status;
  }
  return read_all(place, fd, static_cast<size_t>(info.st_size));
}

absl::StatusOr<std::vector<TlsPsk>> parse_psks(std::string_view text, std::string_view place) {
  std::vector<TlsPsk> psks;
  for (size_t number = 1; !text.empty(); ++number) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty() || line.front() == '#') continue;
    const std::string where = absl::StrCat(to_absl(place), ", line ", number);
    absl::StatusOr<TlsPsk> psk = parse_psk(line, where);
    if (!psk.ok()) return psk.status();
    const auto same = [&](const TlsPsk& other) { return other.identity == psk->identity; };
    if (std::ranges::any_of(psks, same)) {
      return absl::InvalidArgumentError(
          absl::StrCat(where, ": '", psk->identity, "' has a key already"));
    }
    psks.push_back(*std::move(psk));
  }
  if (psks.empty()) return bad(place, " has no key; write lines IDENTITY:KEY");
  return psks;
}

}  // namespace mrpool::uiwarp
