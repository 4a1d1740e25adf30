// --check-config: what a start would refuse, as far as it can be known without a start.
//
// Thread safety: the main thread; it looks at files and devices and may block.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "examples/engine/options.h"
#include "examples/storage/stores.h"

namespace mrpool::engine {

// InvalidArgument: a device for an address is not there (unless Options::retry_listen waits for
// it), or a store cannot be opened, or twice, or there is no such state directory. No store is
// opened or made, nothing is listened on. Prints what a start would warn of.
absl::Status check_start(const char* program, std::span<const std::string> listen,
                         std::span<const storage::WantedStore> stores, const Options& options);

// Warns on stderr when stores in memory may take more than the machine has.
void warn_of_memory(const char* program, std::span<const storage::WantedStore> stores);

// Logs that a reload takes the place of so many changes, where there are any.
void warn_of_unsaved(const char* program, uint64_t changes);

}  // namespace mrpool::engine
