// Reports by how much a counter of unwanted events has risen, at most once in a period.
//
// Thread safety: one thread.
#pragma once

#include <cstdint>
#include <utility>

#include "mrpool/reactor.h"

namespace mrpool::engine {

class RiseReport {
 public:
  explicit RiseReport(Nanoseconds period) : period_(period) {}

  // How much to report of a counter that has `value` at the time `now`: its rise since the last
  // report. Zero: report nothing yet.
  uint64_t risen(uint64_t value, Nanoseconds now) {
    if (value == reported_ || (ever_ && now - reported_at_ < period_)) return 0;
    ever_ = true;
    reported_at_ = now;
    return value - std::exchange(reported_, value);
  }

 private:
  const Nanoseconds period_;
  uint64_t reported_ = 0;
  bool ever_ = false;
  Nanoseconds reported_at_{};
};

}  // namespace mrpool::engine
