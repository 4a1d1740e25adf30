// The addresses that discovery announces to a peer.
//
// A peer needs a numeric address in a family and a network that it can reach. The address in a
// configuration may be a wildcard, a name, or an address that only this machine can use.
//
// Thread safety: pure, except resolve_host, which calls the resolver and may block.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace mrpool::engine {

// An address that peers can connect to.
struct Portal {
  std::string address;  // numeric; a wildcard or empty: any local address
  uint16_t port = 0;
  bool iwarp = true;
  uint16_t id = 0;  // counts from 1

  bool ipv6() const { return address.find(':') != std::string::npos; }
  std::string endpoint() const;  // "10.0.0.1:4420", "[2001:db8::1]:4420"
};

// The part of `portals` that is announced to a peer that connected to `local` ("10.0.0.1:4420"):
//  - A wildcard becomes the address `local`, if the portal has its family ("::" has both).
//  - An IPv4-mapped IPv6 address becomes the IPv4 address.
//  - A loopback address is announced only if `local` is a loopback address.
//  - A link-local address is announced only if it equals `local`. The scope is removed, because it
//    names an interface of this machine.
//  - Each address and port is announced once.
// If no portal remains, `local` is announced.
std::vector<Portal> announced(std::span<const Portal> portals, std::string_view local);

// The first numeric address of `host`, with its scope; a numeric or empty `host` is returned as it
// is. NotFound: it has no address. Unavailable: the resolver does not respond now.
absl::StatusOr<std::string> resolve_host(const std::string& host);
// The results of resolving hosts, by host.
using ResolvedHosts = std::map<std::string, absl::StatusOr<std::string>>;
// Resolves each host; may block for a long time.
ResolvedHosts resolve_hosts(const std::vector<std::string>& hosts);

}  // namespace mrpool::engine
