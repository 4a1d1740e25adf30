// Device addresses: transport://host:port?options.
#include <charconv>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "mrpool/device.h"

namespace mrpool {
namespace {

constexpr std::string_view kExample = "write it like uiwarp://127.0.0.1:4420";
constexpr size_t kMaxHost = 253;  // a DNS name (RFC 1035 §2.3.4 less its length bytes)

absl::string_view absl_view(std::string_view text) { return {text.data(), text.size()}; }

absl::Status wrong(std::string_view uri, std::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat("address '", absl_view(uri), "': ", absl_view(what), "; ", absl_view(kExample)));
}

bool is_transport_name(std::string_view name) {
  if (name.empty()) return false;
  for (const char c : name) {
    if ((c < 'a' || c > 'z') && (c < '0' || c > '9')) return false;
  }
  return true;
}

// Host names, IPv4, and IPv6 with a zone ("fe80::1%eth0").
bool is_host(std::string_view host, bool bracketed) {
  for (const char c : host) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    const bool digit = c >= '0' && c <= '9';
    const bool mark = c == '.' || c == '-' || c == '_' || (bracketed && (c == ':' || c == '%'));
    if (!letter && !digit && !mark) return false;
  }
  return host.size() <= kMaxHost;
}

}  // namespace

absl::StatusOr<Address> Address::parse(std::string_view uri) {
  const size_t scheme_end = uri.find("://");
  if (scheme_end == std::string_view::npos) return wrong(uri, "names no transport");
  Address address;
  address.transport = uri.substr(0, scheme_end);
  if (!is_transport_name(address.transport)) return wrong(uri, "the transport is not a word");

  std::string_view rest = uri.substr(scheme_end + 3);
  if (const size_t question = rest.find('?'); question != std::string_view::npos) {
    address.options = rest.substr(question + 1);
    rest = rest.substr(0, question);
  }

  std::string_view port;
  if (rest.starts_with('[')) {
    const size_t close = rest.find(']');
    if (close == std::string_view::npos) return wrong(uri, "the '[' is not closed");
    address.host = rest.substr(1, close - 1);
    if (address.host.find(':') == std::string::npos || !is_host(address.host, true)) {
      return wrong(uri, "there is no IPv6 address in the brackets");
    }
    rest = rest.substr(close + 1);
    if (!rest.empty() && rest.front() != ':') return wrong(uri, "there is something after the ']'");
    if (!rest.empty()) port = rest.substr(1);
  } else {
    const size_t colon = rest.find(':');
    address.host = rest.substr(0, colon);
    if (colon != std::string_view::npos) port = rest.substr(colon + 1);
    if (port.find(':') != std::string_view::npos) {
      return wrong(uri, "an IPv6 address stands in brackets, as in uiwarp://[::1]:4420");
    }
    if (!is_host(address.host, false)) return wrong(uri, "the host has a character no host has");
    rest = colon == std::string_view::npos ? std::string_view() : rest.substr(colon);
  }

  if (!rest.empty()) {  // the colon is there
    uint32_t value = 0;
    const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), value);
    if (error != std::errc() || end != port.data() + port.size() || value > 65535) {
      return wrong(uri, "the port is not a number from 0 to 65535");
    }
    address.port = static_cast<uint16_t>(value);
  }
  return address;
}

std::string Address::to_string() const {
  std::string uri = absl::StrCat(transport, "://");
  const bool ipv6 = host.find(':') != std::string::npos;
  absl::StrAppend(&uri, ipv6 ? "[" : "", host, ipv6 ? "]" : "");
  if (port != 0) absl::StrAppend(&uri, ":", port);
  if (!options.empty()) absl::StrAppend(&uri, "?", options);
  return uri;
}

}  // namespace mrpool
