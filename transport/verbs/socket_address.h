// Addresses between this library, the sockets API and people.
//
// Thread safety: pure functions.
#pragma once

#include <sys/socket.h>

#include <string>

#include "absl/status/statusor.h"
#include "mrpool/device.h"

namespace mrpool::verbs {

// Host and port of an address, resolved without the network.
absl::StatusOr<sockaddr_storage> socket_address(const Address& address);
// "10.0.0.1:4420".
std::string to_string(const sockaddr* address);

}  // namespace mrpool::verbs
