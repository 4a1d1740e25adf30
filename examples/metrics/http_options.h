// The HTTP server's address and token, from options and configuration files.
//
// Thread safety: values.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "examples/base/acting_user.h"

namespace mrpool::metrics {

// The default port.
inline constexpr uint16_t kDefaultHttpPort = 9464;

struct HttpEndpoint {
  boost::asio::ip::tcp::endpoint endpoint;
  bool loopback = false;
};
// "127.0.0.1:9464", "[::1]:9464", ":9464" (this machine only), "10.0.0.7" (the default port).
// InvalidArgument has the accepted notation.
absl::StatusOr<HttpEndpoint> parse_http_address(std::string_view text);

// The token at `place`, a file or "credential:NAME" as base::read_secret() reads them: one line of
// 16 to 1024 printable characters. Errors name the file and the fix.
absl::StatusOr<std::string> read_token(const std::string& place,
                                       const base::ActingUser& owner = base::ActingUser::self());

}  // namespace mrpool::metrics
