// What a daemon does with its process before it makes a thread, a socket or a store.
//
// Thread safety: the main thread, before any other is made.
#pragma once

#include <span>
#include <string>

#include "absl/status/status.h"
#include "examples/engine/options.h"
#include "examples/storage/stores.h"

namespace mrpool::engine {

// Logs, core dumps and rights as `options` say from here on; takes the service manager's sockets
// for `listen` into `options`, and what the process may have of descriptors for `stores` stores;
// warns of what is short. InvalidArgument: a user or a socket that is none.
absl::Status prepare_process(const char* program, std::span<const std::string> listen,
                             std::span<const storage::WantedStore> stores, Options& options);

}  // namespace mrpool::engine
