// When a counter that should stand still has risen, and by how much: so often at most.
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

  // What is to be reported of a counter that is at `value` by `now`: how far it has risen since the
  // last report; zero: nothing yet.
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
