// How much a daemon logs about its peers and its stores: a peer that connects and is refused in a
// loop must not fill a disk with lines about it, nor keep others' lines out.
//
// Thread safety: one thread at a time.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "examples/base/log_events.h"

namespace mrpool::base {

// A bucket of lines that fills again with time.
class LineBudget {
 public:
  static constexpr uint32_t kBurst = 200;
  static constexpr std::chrono::nanoseconds kPerLine = std::chrono::milliseconds(50);

  explicit LineBudget(uint32_t burst = kBurst, std::chrono::nanoseconds per_line = kPerLine)
      : burst_(burst), per_line_(per_line) {}

  // Whether one more line may go out at `now` (monotonic): null if not; else how many were left out
  // since the last one that did.
  std::optional<uint64_t> take(std::chrono::nanoseconds now);
  // Nothing was taken for so long that it is as a new one.
  bool idle(std::chrono::nanoseconds now) const { return left_out_ == 0 && full_at_ <= now; }

 private:
  uint32_t burst_;
  std::chrono::nanoseconds per_line_;
  std::chrono::nanoseconds full_at_{};  // when the bucket is full again
  uint64_t left_out_ = 0;
};

// A budget for each kind of event and whom it is about, and one for all that peers cause.
class LogLimits {
 public:
  static constexpr uint32_t kBurstOfKind = 60;
  static constexpr std::chrono::nanoseconds kPerLineOfKind = std::chrono::milliseconds(200);
  // A peer that uses more addresses than that is limited by the budget for all.
  static constexpr size_t kMost = 1024;

  struct LeftOut {
    uint64_t of_kind = 0;
    uint64_t of_all = 0;
  };
  // As LineBudget::take().
  std::optional<LeftOut> take(Event event, std::string_view about, bool peer,
                              std::chrono::nanoseconds now);

 private:
  LineBudget& budget(Event event, std::string_view about, std::chrono::nanoseconds now);

  std::map<std::pair<Event, std::string>, LineBudget> kinds_;
  LineBudget all_;
};

}  // namespace mrpool::base
