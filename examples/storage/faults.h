// A volume that fails on purpose: wraps another and injects errors and delays, for tests.
//
// Thread safety and ownership: as Volume; the plan is shared by all channels and may be changed at
// any time.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <random>
#include <vector>

#include "examples/storage/storage.h"

namespace mrpool::storage {

// One rule; the first that fits a request decides it.
struct Fault {
  Op op = Op::kRead;
  uint64_t offset = 0;  // requests that touch [offset, offset + length)
  uint64_t length = ~uint64_t{0};
  Error error = Error::kNone;  // kNone: only delayed
  Nanoseconds delay{};
  double probability = 1.0;
  uint32_t times = ~uint32_t{0};  // then the rule is spent
};

class FaultPlan {
 public:
  explicit FaultPlan(uint64_t seed = 1) : random_(seed) {}
  void add(const Fault& fault);
  void clear();
  // Faults injected so far.
  uint64_t injected() const { return injected_.load(std::memory_order_relaxed); }
  // The fault for this request; error kNone and no delay when there is none.
  Fault decide(const Io& io);

 private:
  std::mutex mutex_;
  std::vector<Fault> faults_;
  std::mt19937_64 random_;
  std::atomic<uint64_t> injected_{0};
};

// memory() of the result is empty, so that every transfer goes through a request and can fail.
std::shared_ptr<Volume> with_faults(std::shared_ptr<Volume> inner, std::shared_ptr<FaultPlan> plan);

}  // namespace mrpool::storage
