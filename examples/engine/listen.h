// The addresses that a daemon is told to listen on.
//
// Thread safety: pure, but for check_devices. Ownership: values.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace mrpool::base {
class JsonObject;
}  // namespace mrpool::base

namespace mrpool::engine {

// Checks each address and writes the protocol's port into those that have none. Port 0 is taken at
// its word: one that is free, another for each time it is written. InvalidArgument names what is
// wrong, or an address that is there twice.
absl::Status complete_listen(std::vector<std::string>& listen, uint16_t port_of_protocol);

// Reads the key "listen" of a file; what is no address is refused there.
void read_listen(base::JsonObject& object, std::vector<std::string>& listen);

// Whether there are devices for the addresses. Opens them, as a start would, but listens on none.
// `may_come_later`: only what cannot be right at any time is an error, which is InvalidArgument.
absl::Status check_devices(std::span<const std::string> listen, bool may_come_later);

// For --help of --listen.
std::string listen_help(uint16_t port_of_protocol);

}  // namespace mrpool::engine
