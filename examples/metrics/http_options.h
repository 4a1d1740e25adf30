// The HTTP server's address and token, from options and configuration files.
//
// Thread safety: values.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

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

// The token in a file: one line of 16 to 1024 printable characters. The file must be regular, its
// owner this user or root, and nobody else may read or write it. Errors name the file and the fix.
absl::StatusOr<std::string> read_token(const std::string& path);

}  // namespace mrpool::metrics
