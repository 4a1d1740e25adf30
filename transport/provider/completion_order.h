// Which entries of a CQ order which data, until the program has polled them.
//
// Thread safety: under the engine's lock.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>

#include "transport/uiwarp/sanitizer.h"

namespace mrpool {
class Qp;
}  // namespace mrpool

namespace mrpool::provider {

// What of a connection's data is ordered.
struct OrderedData {
  const Qp* qp = nullptr;
  uiwarp::OrderPoint point;
};

class CompletionOrder {
 public:
  // An entry was added; with `data`, it orders that.
  void pushed(const std::optional<OrderedData>& data) {
    if (data.has_value()) entries_.push_back({pushed_, *data});
    ++pushed_;
  }
  // The program took the oldest `count` entries: release(OrderedData) for what they order.
  template <typename Release>
  void popped(size_t count, Release&& release) {
    popped_ += count;
    while (!entries_.empty() && entries_.front().number < popped_) {
      release(entries_.front().data);
      entries_.pop_front();
    }
  }
  // Entries were taken out of the middle, and `count` are left: their order counts as seen.
  template <typename Release>
  void purged(size_t count, Release&& release) {
    popped(static_cast<size_t>(pushed_ - popped_), release);
    popped_ = pushed_ - count;
  }

 private:
  struct Entry {
    uint64_t number;
    OrderedData data;
  };
  uint64_t pushed_ = 0;
  uint64_t popped_ = 0;
  std::deque<Entry> entries_;
};

}  // namespace mrpool::provider
