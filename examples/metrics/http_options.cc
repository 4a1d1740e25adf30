#include "examples/metrics/http_options.h"

#include <algorithm>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "examples/base/secret_file.h"

namespace mrpool::metrics {
namespace {

constexpr size_t kMinToken = 16;
constexpr size_t kMaxToken = 1024;

template <typename... Parts>
absl::Status bad(const Parts&... parts) {
  return absl::InvalidArgumentError(absl::StrCat(parts...));
}

}  // namespace

absl::StatusOr<HttpEndpoint> parse_http_address(std::string_view text) {
  const auto refuse = [&] {
    return bad("'", std::string(text),
               "' is not an address for HTTP; write HOST:PORT with a numeric host, as "
               "127.0.0.1:",
               kDefaultHttpPort, " or [::1]:", kDefaultHttpPort);
  };
  std::string_view host = text;
  std::string_view port;
  const size_t colon = text.rfind(':');
  const bool bracketed = text.starts_with('[');
  const size_t bracket = text.find(']');
  if (bracketed && bracket == text.npos) return refuse();
  if (colon != text.npos && (!bracketed || colon > bracket)) {
    host = text.substr(0, colon);
    port = text.substr(colon + 1);
    if (port.empty()) return refuse();
  }
  if (bracketed) {
    if (host.size() != bracket + 1) return refuse();
    host = host.substr(1, bracket - 1);
  } else if (host.find(':') != host.npos) {
    return refuse();  // an IPv6 address without brackets is ambiguous
  }
  if (host.empty() && (bracketed || port.empty())) return refuse();
  uint32_t number = kDefaultHttpPort;
  const bool digits = std::ranges::all_of(port, [](char c) { return c >= '0' && c <= '9'; });
  if (!port.empty() &&
      (!digits || !absl::SimpleAtoi(absl::string_view(port.data(), port.size()), &number))) {
    return refuse();
  }
  boost::system::error_code error;
  const auto address =
      boost::asio::ip::make_address(host.empty() ? "127.0.0.1" : std::string(host), error);
  if (error || number > 65535) return refuse();
  return HttpEndpoint{.endpoint = {address, uint16_t(number)}, .loopback = address.is_loopback()};
}

absl::StatusOr<std::string> read_token(const std::string& place, const base::ActingUser& owner) {
  absl::StatusOr<std::string> secret = base::read_secret_once(place, owner);
  if (!secret.ok()) return secret.status();
  std::string token = *std::move(secret);
  const bool printable = std::ranges::all_of(token, [](char c) { return c > ' ' && c < 0x7f; });
  if (!printable || token.size() < kMinToken || token.size() > kMaxToken) {
    return bad(place, ": holds no token; write one line of ", kMinToken, " to ", kMaxToken,
               " characters without spaces, as openssl rand -hex 32 makes it");
  }
  return token;
}

}  // namespace mrpool::metrics
