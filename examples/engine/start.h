// Prepares a daemon's process before it starts a thread or opens a socket or a store.
//
// Thread safety: the main thread, before other threads exist.
#pragma once

#include <span>
#include <string>

#include "absl/status/status.h"
#include "examples/engine/options.h"
#include "examples/storage/stores.h"

namespace mrpool::engine {

// Applies the options for logs, core dumps and privileges. Adds to `options` the service manager's
// sockets for `listen` and the connections for which there are descriptors. Warns of shortages.
// InvalidArgument: the user does not exist, or a socket is invalid.
absl::Status prepare_process(const char* program, std::span<const std::string> listen,
                             std::span<const storage::WantedStore> stores, Options& options);

}  // namespace mrpool::engine
