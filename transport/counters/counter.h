// A counter that one thread writes and any thread reads.
//
// Memory ordering: relaxed. A reader sees a value that the counter had; counters of one snapshot
// may be of moments that lie a few events apart. The writer needs no locked instruction.
// Thread safety: add and raise: one thread, the owner's. value: any thread.
#pragma once

#include <atomic>
#include <cstdint>

namespace mrpool {

class Counter {
 public:
  void add(uint64_t n = 1) {
    value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  // A high-water mark.
  void raise(uint64_t n) {
    if (n > value_.load(std::memory_order_relaxed)) value_.store(n, std::memory_order_relaxed);
  }
  uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

}  // namespace mrpool
