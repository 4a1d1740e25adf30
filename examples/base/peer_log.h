// What a daemon says on stderr about its peers, and how much: a peer that connects and is refused
// in a loop must not fill a disk with lines about it.
//
// Thread safety: LineBudget: one thread at a time; say_of_peers: any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>

namespace mrpool::base {

// A bucket of lines that fills again with time.
class LineBudget {
 public:
  static constexpr uint32_t kBurst = 200;
  static constexpr std::chrono::nanoseconds kPerLine = std::chrono::milliseconds(50);

  // Whether one more line may go out at `now` (monotonic): null if not; else how many were left out
  // since the last one that did.
  std::optional<uint64_t> take(std::chrono::nanoseconds now);

 private:
  std::chrono::nanoseconds full_at_{};  // when the bucket is full again
  uint64_t left_out_ = 0;
};

// Writes `line`, made printable(), and a newline to stderr: 200 at once, 20 a second for longer; of
// what is left out it tells the number. Returns at once: a thread writes (log_thread.h).
void say_of_peers(std::string_view line);

}  // namespace mrpool::base
