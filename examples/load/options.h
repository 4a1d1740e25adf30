// What a load is: fio's options, under fio's names, and their checks.
//
// Ownership, thread safety: values.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "examples/base/command_line.h"
#include "examples/load/range.h"
#include "mrpool/device.h"

namespace mrpool::load {

enum class Pattern : uint8_t { kRead, kWrite, kRandRead, kRandWrite, kReadWrite, kRandRw };

std::string_view to_string(Pattern pattern);
constexpr bool is_random(Pattern p) {
  return p == Pattern::kRandRead || p == Pattern::kRandWrite || p == Pattern::kRandRw;
}
constexpr bool has_writes(Pattern p) { return p != Pattern::kRead && p != Pattern::kRandRead; }
constexpr bool has_reads(Pattern p) { return p != Pattern::kWrite && p != Pattern::kRandWrite; }
constexpr bool is_mixed(Pattern p) { return p == Pattern::kReadWrite || p == Pattern::kRandRw; }

enum class OutputFormat : uint8_t { kNormal, kJson, kJsonPlus };

inline constexpr uint32_t kDefaultMix = 50;

struct Options {
  Pattern rw = Pattern::kRandRead;
  uint32_t bs = 4096;                     // bytes of one I/O
  uint32_t iodepth = 1;                   // I/Os outstanding per job
  uint32_t numjobs = 1;                   // queues, each with a thread of its own
  Range range{};                          // the region
  std::chrono::nanoseconds runtime{0};    // at most; 0: no limit
  bool time_based = false;                // as many passes as fit into the runtime, not one
  bool norandommap = false;               // random offsets may come twice in a pass
  std::chrono::nanoseconds ramp_time{0};  // unmeasured start of a timed run
  std::optional<uint32_t> rwmixread;  // percent of mixed loads; kDefaultMix where it is not given
  uint64_t rate_iops = 0;             // per job; 0: as fast as it goes
  bool verify = false;                // crc32c headers, sequence checks, read back at the end
  uint64_t randseed = 0;              // 0: drawn and printed
  OutputFormat output_format = OutputFormat::kNormal;
  bool group_reporting = false;
  std::string eta = "auto";  // live line: auto (on a terminal), always, never
};

// What an initiator can do at once.
struct Limits {
  uint32_t iodepth;
  uint32_t numjobs;
};
// Declares fio's options on `command`, writing to `options`, and the notes that go with them.
void add_options(base::CommandLine& command, Options& options, const Limits& limits);

// Checks the options against each other and against a device of `device_size` bytes with logical
// blocks of `block_size`, and fills in `size`. InvalidArgument names the option and what to write.
[[nodiscard]] absl::Status finish_options(Options& options, uint64_t device_size,
                                          uint32_t block_size);

// Whether a device has memory regions for so many outstanding commands. InvalidArgument.
[[nodiscard]] absl::Status check_mrs(uint32_t iodepth, uint32_t numjobs, uint64_t needed,
                                     const DeviceCaps& caps);

// Bytes [begin, end) one job works on.
struct Region {
  uint64_t begin = 0;
  uint64_t end = 0;
  uint64_t blocks(uint32_t bs) const { return (end - begin) / bs; }
};
// Random loads without verification share the whole region; all others get a slice of their own,
// so that no job reads, or writes over, what another one checks.
Region job_region(const Options& options, uint32_t job);

}  // namespace mrpool::load
