#include "transport/verbs/socket_address.h"

#include <arpa/inet.h>
#include <netdb.h>

#include <cstring>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "transport/checks/limits.h"

namespace mrpool::verbs {

absl::StatusOr<sockaddr_storage> socket_address(const Address& address) {
  if (address.host.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "verbs needs the address of an RDMA device's interface, \"", address.to_string(),
        "\" has none; write verbs://10.0.0.1:4420 (`rdma link` and `ip addr` show them)"));
  }
  if (absl::StartsWith(address.options, "tls") || absl::StrContains(address.options, "&tls")) {
    return absl::InvalidArgumentError(absl::StrCat(
        "verbs has no TLS, \"", address.options,
        "\" was given: the device moves the bytes; protect its network, or use uiwarp://"));
  }
  if (!address.options.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("verbs has no options, \"", address.options, "\" was given"));
  }
  if (absl::Status status = checks::check_transport(address, "verbs"); !status.ok()) return status;
  addrinfo hints{};
  hints.ai_flags = AI_NUMERICSERV;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const std::string port = absl::StrCat(address.port);
  if (const int error = getaddrinfo(address.host.c_str(), port.c_str(), &hints, &found);
      error != 0) {
    return absl::NotFoundError(absl::StrCat(address.host, ": ", gai_strerror(error)));
  }
  sockaddr_storage result{};
  std::memcpy(&result, found->ai_addr, found->ai_addrlen);
  freeaddrinfo(found);
  return result;
}

std::string to_string(const sockaddr* address) {
  char text[INET6_ADDRSTRLEN] = "?";
  if (address->sa_family == AF_INET) {
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(address);
    inet_ntop(AF_INET, &v4->sin_addr, text, sizeof text);
    return absl::StrCat(text, ":", ntohs(v4->sin_port));
  }
  const auto* v6 = reinterpret_cast<const sockaddr_in6*>(address);
  inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof text);
  return absl::StrCat("[", text, "]:", ntohs(v6->sin6_port));
}

}  // namespace mrpool::verbs
