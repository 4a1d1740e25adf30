// What one Pd counts (PdStatistics of mrpool/statistics.h): set-up calls only, so that plain
// atomics do.
//
// Thread safety: any thread.
#pragma once

#include <atomic>
#include <cstdint>

#include "mrpool/statistics.h"

namespace mrpool {

// How many there are, and the most there were.
class Gauge {
 public:
  void add() {
    const uint64_t now = now_.fetch_add(1, std::memory_order_relaxed) + 1;
    uint64_t most = most_.load(std::memory_order_relaxed);
    while (most < now && !most_.compare_exchange_weak(most, now, std::memory_order_relaxed)) {
    }
  }
  void remove() { now_.fetch_sub(1, std::memory_order_relaxed); }
  uint64_t now() const { return now_.load(std::memory_order_relaxed); }
  uint64_t most() const { return most_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> now_{0};
  std::atomic<uint64_t> most_{0};
};

class PdCounters {
 public:
  void refused() { refused_.fetch_add(1, std::memory_order_relaxed); }
  void made_srq() { srqs_.fetch_add(1, std::memory_order_relaxed); }

  PdStatistics snapshot() const {
    return {.regions = regions_.now(),
            .regions_max = regions_.most(),
            .region_bytes = bytes_.load(std::memory_order_relaxed),
            .regions_total = total_.load(std::memory_order_relaxed),
            .regions_refused = refused_.load(std::memory_order_relaxed),
            .fast_mrs = fast_mrs_.now(),
            .fast_mrs_max = fast_mrs_.most(),
            .srqs = srqs_.load(std::memory_order_relaxed)};
  }

 private:
  friend class CountedRegion;
  friend class CountedFastMr;
  Gauge regions_;
  Gauge fast_mrs_;
  std::atomic<uint64_t> bytes_{0};
  std::atomic<uint64_t> total_{0};
  std::atomic<uint64_t> refused_{0};
  std::atomic<uint64_t> srqs_{0};
};

// A member of what is counted: it counts for as long as that lives. The Pd outlives it.
class CountedRegion {
 public:
  CountedRegion(PdCounters& counters, uint64_t bytes) : counters_(counters), bytes_(bytes) {
    counters_.regions_.add();
    counters_.bytes_.fetch_add(bytes_, std::memory_order_relaxed);
    counters_.total_.fetch_add(1, std::memory_order_relaxed);
  }
  ~CountedRegion() {
    counters_.regions_.remove();
    counters_.bytes_.fetch_sub(bytes_, std::memory_order_relaxed);
  }
  CountedRegion(const CountedRegion&) = delete;
  CountedRegion& operator=(const CountedRegion&) = delete;

 private:
  PdCounters& counters_;
  const uint64_t bytes_;
};

class CountedFastMr {
 public:
  explicit CountedFastMr(PdCounters& counters) : counters_(counters) { counters_.fast_mrs_.add(); }
  ~CountedFastMr() { counters_.fast_mrs_.remove(); }
  CountedFastMr(const CountedFastMr&) = delete;
  CountedFastMr& operator=(const CountedFastMr&) = delete;

 private:
  PdCounters& counters_;
};

}  // namespace mrpool
