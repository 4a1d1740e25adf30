// The addresses that discovery tells a peer.
//
// A peer can use a numeric address of a family and a network that it reaches; what a configuration
// says may be a wildcard, a name, or an address of this machine alone.
//
// Thread safety: pure, but for resolve_host, which asks the resolver and may block.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace mrpool::engine {

// Where peers can come in.
struct Portal {
  std::string address;  // numeric; a wildcard or empty: wherever a peer came in
  uint16_t port = 0;
  bool iwarp = true;
  uint16_t id = 0;  // counts from 1

  bool ipv6() const { return address.find(':') != std::string::npos; }
  std::string endpoint() const;  // "10.0.0.1:4420", "[2001:db8::1]:4420"
};

// What a peer that came in at `local` ("10.0.0.1:4420") is told of `portals`:
//  - a wildcard as the address the peer came to, where the portal takes its family ("::" both);
//  - an IPv4 address in IPv6 clothes as the IPv4 address;
//  - a loopback address only to who came by one;
//  - a link-local address only to who came to it, and without the scope, which names an interface
//    of this machine;
//  - each address and port once.
// When nothing is left, `local` is told.
std::vector<Portal> announced(std::span<const Portal> portals, std::string_view local);

// The numeric address that `host` leads to first, with its scope; a numeric or empty one is its
// own. NotFound: it leads nowhere, Unavailable: the resolver cannot say now.
absl::StatusOr<std::string> resolve_host(const std::string& host);
// Hosts that were resolved before, each with what came of it.
using ResolvedHosts = std::map<std::string, absl::StatusOr<std::string>>;
// Of each; may block for long.
ResolvedHosts resolve_hosts(const std::vector<std::string>& hosts);

}  // namespace mrpool::engine
