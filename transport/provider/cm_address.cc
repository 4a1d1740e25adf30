#include "transport/provider/cm_address.h"

#include <arpa/inet.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>

namespace mrpool::provider {
namespace {

// A socket that ends with its scope.
struct Socket {
  explicit Socket(int family, int type) : fd(::socket(family, type | SOCK_CLOEXEC, 0)) {}
  ~Socket() {
    if (fd >= 0) ::close(fd);
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  const int fd;
};

std::optional<sockaddr_storage> name_of(int fd) {
  sockaddr_storage out{};
  socklen_t bytes = sizeof out;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&out), &bytes) != 0) return std::nullopt;
  return out;
}

const sockaddr_in& v4(const sockaddr& address) {
  return reinterpret_cast<const sockaddr_in&>(address);
}
const sockaddr_in6& v6(const sockaddr& address) {
  return reinterpret_cast<const sockaddr_in6&>(address);
}

}  // namespace

socklen_t address_bytes(const sockaddr& address) {
  if (address.sa_family == AF_INET) return sizeof(sockaddr_in);
  return address.sa_family == AF_INET6 ? sizeof(sockaddr_in6) : 0;
}

uint16_t port_of(const sockaddr& address) {
  if (address.sa_family == AF_INET) return ntohs(v4(address).sin_port);
  return address.sa_family == AF_INET6 ? ntohs(v6(address).sin6_port) : uint16_t{0};
}

void set_port(sockaddr& address, uint16_t port) {
  if (address.sa_family == AF_INET) {
    reinterpret_cast<sockaddr_in&>(address).sin_port = htons(port);
  } else if (address.sa_family == AF_INET6) {
    reinterpret_cast<sockaddr_in6&>(address).sin6_port = htons(port);
  }
}

bool is_wildcard(const sockaddr& address) {
  if (address.sa_family == AF_INET) return v4(address).sin_addr.s_addr == htonl(INADDR_ANY);
  return std::memcmp(&v6(address).sin6_addr, &in6addr_any, sizeof in6addr_any) == 0;
}

std::optional<sockaddr_storage> parse_endpoint(std::string_view text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  uint16_t port = 0;
  std::from_chars(text.data() + colon + 1, text.data() + text.size(), port);
  std::string host(text.substr(0, colon));
  if (host.size() > 2 && host.front() == '[') host = host.substr(1, host.size() - 2);
  sockaddr_storage out{};
  auto& four = reinterpret_cast<sockaddr_in&>(out);
  auto& six = reinterpret_cast<sockaddr_in6&>(out);
  if (::inet_pton(AF_INET, host.c_str(), &four.sin_addr) == 1) {
    out.ss_family = AF_INET;
  } else if (::inet_pton(AF_INET6, host.c_str(), &six.sin6_addr) == 1) {
    out.ss_family = AF_INET6;
  } else {
    return std::nullopt;
  }
  set_port(reinterpret_cast<sockaddr&>(out), port);
  return out;
}

Address to_device_address(const sockaddr& address) {
  char host[INET6_ADDRSTRLEN] = "";
  const void* bytes = address.sa_family == AF_INET ? static_cast<const void*>(&v4(address).sin_addr)
                                                   : &v6(address).sin6_addr;
  ::inet_ntop(address.sa_family, bytes, host, sizeof host);
  return {.transport = "uiwarp", .host = host, .port = port_of(address), .options = {}};
}

std::optional<sockaddr_storage> local_address_for(const sockaddr& target) {
  const Socket probe(target.sa_family, SOCK_DGRAM);
  sockaddr_storage copy{};
  std::memcpy(&copy, &target, address_bytes(target));
  auto& to = reinterpret_cast<sockaddr&>(copy);
  if (port_of(to) == 0) set_port(to, 9);  // a datagram socket needs one; nothing is sent
  if (probe.fd < 0 || ::connect(probe.fd, &to, address_bytes(to)) != 0) return std::nullopt;
  std::optional<sockaddr_storage> out = name_of(probe.fd);
  if (out.has_value()) set_port(reinterpret_cast<sockaddr&>(*out), 0);
  return out;
}

uint16_t free_port(const sockaddr& address) {
  const Socket probe(address.sa_family, SOCK_STREAM);
  if (probe.fd < 0 || ::bind(probe.fd, &address, address_bytes(address)) != 0) return 0;
  const std::optional<sockaddr_storage> name = name_of(probe.fd);
  return name.has_value() ? port_of(reinterpret_cast<const sockaddr&>(*name)) : uint16_t{0};
}

}  // namespace mrpool::provider
