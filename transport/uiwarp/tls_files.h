// The files that the options of TLS name: keys, which only their owner may read, and certificates.
//
// Thread safety: read_tls_file: any thread; the rest is pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace mrpool::uiwarp {

// Overwrites it before it goes.
struct TlsSecret {
  TlsSecret() = default;
  explicit TlsSecret(std::string from) : text(std::move(from)) {}
  TlsSecret(TlsSecret&&) = default;
  TlsSecret& operator=(TlsSecret&&) = default;
  ~TlsSecret();

  std::string text;
};

// `place` is a path, or "credential:NAME", a file of $CREDENTIALS_DIRECTORY (systemd's
// LoadCredential=). InvalidArgument names what is wrong with it. The file must belong to root or to
// this user, and nobody else may write it. A `secret` one may be read by its owner, and by its
// group if root owns it or the group is this process's.
absl::StatusOr<TlsSecret> read_tls_file(const std::string& place, bool secret);

// The key of one identity.
struct TlsPsk {
  std::string identity;
  TlsSecret key;  // bytes
};
inline constexpr size_t kMinPskBytes = 32;
inline constexpr size_t kMaxPskBytes = 64;
inline constexpr size_t kMaxIdentityBytes = 255;

// Lines IDENTITY:KEY, the key in hexadecimal digits; the last colon divides. Empty lines and lines
// that begin with '#' are left out. InvalidArgument names the line, and never shows a key.
absl::StatusOr<std::vector<TlsPsk>> parse_psks(std::string_view text, std::string_view place);

}  // namespace mrpool::uiwarp
