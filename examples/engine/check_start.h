// --check-config: reports what a start would refuse, as far as this is known without starting.
//
// Thread safety: the main thread; the checks read files and devices and may block.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "examples/engine/options.h"
#include "examples/storage/stores.h"

namespace mrpool::engine {

// InvalidArgument: an address has no device (unless Options::retry_listen is set), a store cannot
// be opened or is listed twice, or the state directory does not exist. Opens no store, creates no
// file and listens on no port. Prints the warnings that a start would print.
absl::Status check_start(const char* program, std::span<const std::string> listen,
                         std::span<const storage::WantedStore> stores, const Options& options);

// For --check-config: prints the files of stores that a start would create, empty.
void print_files_to_make(std::span<const storage::WantedStore> stores);

// Warns on stderr when stores in memory may need more memory than the machine has.
void warn_of_memory(const char* program, std::span<const storage::WantedStore> stores);

// Logs that a reload discards `changes` unsaved changes; logs nothing when there are none.
void warn_of_unsaved(const char* program, uint64_t changes);

}  // namespace mrpool::engine
