// The options of an address that switch TLS on for a uiwarp device: what to prove to peers, and
// what peers must prove. They name files and hold no secrets.
//
// Thread safety: values and pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace mrpool::uiwarp {

enum class TlsMode : uint8_t {
  kOff,
  kPsk,   // pre-shared keys: each side proves that it has the key of an identity
  kCert,  // certificates
};

struct TlsOptions {
  TlsMode mode = TlsMode::kOff;
  // kPsk. Keys, by identity; a side that connects uses `identity`, or the only one of the file.
  std::string psk;
  std::string identity;
  // kCert. A side that accepts needs `cert` and `key`. `ca` has the certificates that peers must
  // descend from: a side that connects needs it, one that accepts demands a certificate with it.
  std::string cert;
  std::string key;
  std::string ca;
  // The name in the certificate of a peer that is connected to, if it is not the address's host.
  std::string name;

  friend bool operator==(const TlsOptions&, const TlsOptions&) = default;
};

// The names, for messages.
inline constexpr std::string_view kTlsOptionNames =
    "tls, tls-psk, tls-identity, tls-cert, tls-key, tls-ca and tls-name";

// NotFound: no option of TLS has that name. InvalidArgument: it cannot have that value.
absl::Status set_tls_option(std::string_view name, std::string_view value, TlsOptions& options);
// InvalidArgument: they contradict each other, or one is missing.
absl::Status check_tls_options(const TlsOptions& options);

}  // namespace mrpool::uiwarp
