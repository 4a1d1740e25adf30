// A range of a store, in bytes: options and checks, in the same words for every command of every
// initiator. A wrong range is InvalidArgument, which names the valid one.
//
// Ownership, thread safety: values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "examples/base/command_line.h"

namespace mrpool::load {

struct Range {
  uint64_t offset = 0;
  uint64_t size = 0;  // 0: not given

  // Bytes from the offset on, of a store of `store` bytes that check_range() has found to have it.
  uint64_t bytes(uint64_t store) const { return size != 0 ? size : store - offset; }
};

// Declares --offset and --size.
void add_options(base::CommandLine& command, Range& range, const char* offset_help,
                 const char* size_help);

// Whether a store of so many bytes, in blocks of `block_size`, has the range, which begins with a
// block.
absl::Status check_range(const Range& range, uint64_t store, uint32_t block_size);

// check_range() for a command without a default range, which takes whole blocks.
absl::Status check_blocks(const Range& range, uint64_t store, uint32_t block_size);
// "marked 4KiB (4096 bytes) at offset 65536 of namespace 1 as uncorrectable" on stderr.
void report_marked(const Range& range, const std::string& store);

// The error of an input that is longer than the range that check_range() has found; `input`: its
// bytes, where they are known.
absl::Status too_long(const Range& range, uint64_t store, std::optional<uint64_t> input = {});
// Whether an input of so many bytes fits, which is at most --size of it.
absl::Status check_input(const Range& range, uint64_t store, std::optional<uint64_t> input);

}  // namespace mrpool::load
