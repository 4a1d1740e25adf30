#include "examples/load/range.h"

#include <cstdio>

#include "absl/strings/str_cat.h"
#include "examples/base/units.h"

namespace mrpool::load {

void add_options(base::CommandLine& command, Range& range, const char* offset_help,
                 const char* size_help) {
  command.size("offset", offset_help, range.offset);
  command.size("size", size_help, range.size, {.least = 1});
}

absl::Status check_range(const Range& range, uint64_t store, uint32_t block_size) {
  if (range.offset % block_size != 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--offset ", range.offset, " is not a multiple of the block size ", block_size));
  }
  if (range.offset >= store) {
    return absl::InvalidArgumentError(
        absl::StrCat("--offset ", range.offset, " is not before the end, which is at ", store));
  }
  const uint64_t room = store - range.offset;
  if (range.size > room) {
    return absl::InvalidArgumentError(absl::StrCat("--offset + --size ends ", range.size - room,
                                                   " bytes after the end, which is at ", store));
  }
  return absl::OkStatus();
}

absl::Status check_blocks(const Range& range, uint64_t store, uint32_t block_size) {
  if (range.size == 0)
    return absl::InvalidArgumentError("--size is missing; give the bytes to mark");
  if (absl::Status status = check_range(range, store, block_size); !status.ok()) return status;
  if (range.size % block_size == 0) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("--size ", range.size, " is not a multiple of the block size ", block_size));
}

void report_marked(const Range& range, const std::string& store) {
  std::fprintf(stderr, "marked %s (%llu bytes) at offset %llu of %s as uncorrectable\n",
               base::format_size(range.size).c_str(), static_cast<unsigned long long>(range.size),
               static_cast<unsigned long long>(range.offset), store.c_str());
}

absl::Status too_long(const Range& range, uint64_t store, std::optional<uint64_t> input) {
  return absl::InvalidArgumentError(absl::StrCat(
      "the input does not fit: there is room for ", store - range.offset, " bytes from --offset ",
      range.offset, input ? absl::StrCat(", and it has ", *input) : ""));
}

absl::Status check_input(const Range& range, uint64_t store, std::optional<uint64_t> input) {
  const bool fits = range.size != 0 || input.value_or(0) <= store - range.offset;
  return fits ? absl::OkStatus() : too_long(range, store, input);
}

}  // namespace mrpool::load
