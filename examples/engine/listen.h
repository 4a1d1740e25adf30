// The addresses that a daemon listens on.
//
// Thread safety: pure, except check_devices. Ownership: values.
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

// Checks each address and adds the protocol's port to addresses without one. Port 0 stands for a
// free port, a different one each time. InvalidArgument names the wrong part, or an address that
// appears twice.
absl::Status complete_listen(std::vector<std::string>& listen, uint16_t port_of_protocol);

// Reads the key "listen" of a file; reports values that are not addresses with their line.
void read_listen(base::JsonObject& object, std::vector<std::string>& listen);

// Checks that the addresses have devices. Opens them, like a start, but listens on none.
// `may_come_later`: only addresses that can never become valid are an error, InvalidArgument.
absl::Status check_devices(std::span<const std::string> listen, bool may_come_later);

// The text of --listen in --help.
std::string listen_help(uint16_t port_of_protocol);

}  // namespace mrpool::engine
