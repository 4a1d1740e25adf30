// Prepares a daemon's process before it starts a thread or opens a socket or a store.
//
// Thread safety: the main thread, before other threads exist.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "examples/engine/options.h"
#include "examples/storage/stores.h"

namespace mrpool::engine {

// The first step of main(): holds the standard streams and reloads, and sets the log format that
// the command line asks for. Returns the arguments.
std::vector<std::string> begin_process(int argc, char** argv);

// Applies the options for logs, core dumps and privileges. Adds to `options` the service manager's
// sockets for `listen` and the connections for which there are descriptors. Warns of shortages.
// InvalidArgument: the user does not exist, or a socket is invalid.
absl::Status prepare_process(const char* program, std::span<const std::string> listen,
                             std::span<const storage::WantedStore> stores, Options& options);

}  // namespace mrpool::engine
