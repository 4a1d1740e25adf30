#include "examples/engine/portals.h"

#include <netdb.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <memory>
#include <optional>

#include "absl/strings/str_cat.h"
#include "examples/base/ip_address.h"

namespace mrpool::engine {
namespace {

// The address of `portal` that is announced to a peer which connected to `asked`; nothing: it is
// not announced.
std::optional<std::string> told(const Portal& portal, const base::IpAddress& asked) {
  const auto own = base::IpAddress::parse(portal.address);
  if (portal.address.empty()) return asked.to_string();
  if (!own) return portal.address;
  if (own->wildcard()) {
    if (!own->ipv6() && asked.ipv6()) return std::nullopt;
    return asked.to_string();
  }
  const std::string text = own->to_string();
  if (own->loopback() && !asked.loopback()) return std::nullopt;
  if (own->link_local() && text != asked.to_string()) return std::nullopt;
  return text;
}

uint16_t port_of(std::string_view endpoint) {
  uint16_t port = 0;
  endpoint.remove_prefix(endpoint.rfind(':') + 1);
  std::from_chars(endpoint.data(), endpoint.data() + endpoint.size(), port);
  return port;
}

}  // namespace

std::string Portal::endpoint() const {
  return absl::StrCat(ipv6() ? "[" : "", address, ipv6() ? "]" : "", ":", port);
}

std::vector<Portal> announced(std::span<const Portal> portals, std::string_view local) {
  const std::string_view host = base::host_of(local);
  const auto asked = base::IpAddress::parse(host);
  std::vector<Portal> all;
  for (const Portal& portal : portals) {
    const auto address = asked ? told(portal, *asked) : std::nullopt;
    if (!address) continue;
    const bool known = std::ranges::any_of(all, [&](const Portal& other) {
      return other.address == *address && other.port == portal.port;
    });
    if (known) continue;
    all.push_back(portal);
    all.back().address = *address;
  }
  if (all.empty()) {
    all.push_back(portals.empty() ? Portal{.address = {}, .id = 1} : portals.front());
    all.back().address = asked ? asked->to_string() : std::string(host);
    all.back().port = port_of(local);
  }
  return all;
}

absl::StatusOr<std::string> resolve_host(const std::string& host) {
  if (host.empty()) return host;
  if (const auto address = base::IpAddress::parse(host)) {
    if (!address->ipv6()) return address->to_string();
    if (!address->link_local() || !address->scope().empty()) return host;
    return absl::InvalidArgumentError(
        absl::StrCat("'", host, "' is link-local: add the interface, as in '", host, "%eth0'"));
  }
  addrinfo hints{};
  hints.ai_flags = AI_PASSIVE;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  int error = getaddrinfo(host.c_str(), nullptr, &hints, &list);
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> found(list, [](addrinfo* each) {
    if (each != nullptr) freeaddrinfo(each);
  });
  std::array<char, NI_MAXHOST> numeric;
  if (error == 0) {
    error = getnameinfo(found->ai_addr, found->ai_addrlen, numeric.data(), numeric.size(), nullptr,
                        0, NI_NUMERICHOST);
  }
  if (error == 0) return std::string(numeric.data());
  const std::string text = absl::StrCat("'", host, "': ", gai_strerror(error));
  return error == EAI_AGAIN ? absl::UnavailableError(text) : absl::NotFoundError(text);
}

ResolvedHosts resolve_hosts(const std::vector<std::string>& hosts) {
  ResolvedHosts resolved;
  for (const std::string& host : hosts) {
    if (!resolved.contains(host)) resolved.emplace(host, resolve_host(host));
  }
  return resolved;
}

}  // namespace mrpool::engine
