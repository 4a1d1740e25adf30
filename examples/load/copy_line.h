// What a copy between a file and a store has in common in both initiators: its options, the line on
// stderr while it runs, and the line at its end.
//
// Thread safety: one thread. Ownership: a value.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "examples/base/command_line.h"

namespace mrpool::load {

struct CopyPace {
  uint32_t chunk = 256 << 10;  // bytes of one command
  uint32_t depth = 8;          // outstanding commands
  std::string eta = "auto";    // the live line: auto (on a terminal), always or never
};
// Declares --bs, --iodepth (`most` at most) and --eta.
void add_options(base::CommandLine& command, CopyPace& pace, uint32_t most);
// InvalidArgument: --bs is not a multiple of `block_size`.
absl::Status check_chunk(const CopyPace& pace, uint32_t block_size);

class CopyLine {
 public:
  // `total`: bytes of the whole copy; 0: nobody knows.
  CopyLine(const std::string& eta, uint64_t total);
  // False: the user has interrupted the copy.
  bool update(uint64_t bytes);
  // Removes the live line.
  void finish() const;
  // "wrote 1MiB (1048576 bytes) at offset 0 of namespace 1 in 3 ms, 300MiB/s" on stderr.
  void report(const char* verb, uint64_t bytes, uint64_t offset, const std::string& store) const;

 private:
  using Clock = std::chrono::steady_clock;
  Clock::duration elapsed() const { return Clock::now() - begun_; }
  std::string line(uint64_t bytes) const;

  const bool show_;
  const uint64_t total_;
  const Clock::time_point begun_ = Clock::now();
  Clock::time_point last_{};
  bool shown_ = false;
};

}  // namespace mrpool::load
