// A virtual clock and what happens later: the events of a simulation without a reactor.
//
// Thread safety: one thread. Ownership: an event may end whatever it was made by, so events check
// for themselves whether their object still exists.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <utility>

#include "mrpool/reactor.h"

namespace mrpool::sim {

class Events {
 public:
  Nanoseconds now() const { return now_; }
  // Events of one time happen in the order of these calls.
  void at(Nanoseconds time, std::function<void()> event) {
    waiting_.emplace(std::pair(time < now_ ? now_ : time, ++last_), std::move(event));
  }
  void after(Nanoseconds delay, std::function<void()> event) { at(now_ + delay, std::move(event)); }
  // The next one. Something always comes: the world has a tick.
  void step() {
    auto next = waiting_.extract(waiting_.begin());
    now_ = next.key().first;
    next.mapped()();
  }

 private:
  Nanoseconds now_ = std::chrono::seconds(1);
  uint64_t last_ = 0;
  std::map<std::pair<Nanoseconds, uint64_t>, std::function<void()>> waiting_;
};

}  // namespace mrpool::sim
