#include "transport/uiwarp/tls_options.h"

#include "absl/strings/str_cat.h"

namespace mrpool::uiwarp {
namespace {

struct TextOption {
  std::string_view name;
  std::string TlsOptions::*text;
  TlsMode mode;
};

// `tls` itself has values of its own.
constexpr TextOption kTextOptions[] = {
    {"tls-psk", &TlsOptions::psk, TlsMode::kPsk},
    {"tls-identity", &TlsOptions::identity, TlsMode::kPsk},
    {"tls-cert", &TlsOptions::cert, TlsMode::kCert},
    {"tls-key", &TlsOptions::key, TlsMode::kCert},
    {"tls-ca", &TlsOptions::ca, TlsMode::kCert},
    {"tls-name", &TlsOptions::name, TlsMode::kCert},
};

absl::string_view to_absl(std::string_view text) { return {text.data(), text.size()}; }

absl::string_view name_of(TlsMode mode) { return mode == TlsMode::kPsk ? "tls=psk" : "tls=cert"; }

absl::Status bad(absl::string_view option, absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat("uiwarp option ", option, why));
}

}  // namespace

absl::Status set_tls_option(std::string_view name, std::string_view value, TlsOptions& options) {
  if (name == "tls") {
    if (value == "off") {
      options.mode = TlsMode::kOff;
    } else if (value == "psk") {
      options.mode = TlsMode::kPsk;
    } else if (value == "cert") {
      options.mode = TlsMode::kCert;
    } else {
      return bad("tls=", absl::StrCat(to_absl(value), ": expected tls=off, tls=psk or tls=cert"));
    }
    return absl::OkStatus();
  }
  for (const TextOption& option : kTextOptions) {
    if (name != option.name) continue;
    if (value.empty()) return bad(to_absl(name), "= has no value");
    options.*option.text = value;
    return absl::OkStatus();
  }
  return absl::NotFoundError("no option of TLS");
}

absl::Status check_tls_options(const TlsOptions& options) {
  for (const TextOption& option : kTextOptions) {
    if ((options.*option.text).empty() || options.mode == option.mode) continue;
    return bad(to_absl(option.name), absl::StrCat("=... needs ", name_of(option.mode)));
  }
  if (options.mode == TlsMode::kPsk && options.psk.empty()) {
    return bad("tls=psk", " needs tls-psk=FILE, a file with lines IDENTITY:KEY");
  }
  if (options.mode != TlsMode::kCert) return absl::OkStatus();
  if (options.cert.empty() != options.key.empty()) {
    return options.key.empty() ? bad("tls-cert=...", " needs tls-key=FILE, its private key")
                               : bad("tls-key=...", " needs tls-cert=FILE, its certificate");
  }
  if (options.cert.empty() && options.ca.empty()) {
    return bad("tls=cert",
               " needs tls-cert=FILE and tls-key=FILE to accept connections, tls-ca=FILE to make "
               "them");
  }
  return absl::OkStatus();
}

}  // namespace mrpool::uiwarp
