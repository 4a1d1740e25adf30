// The counters of a target, defined by one table: each worker's counters, their sums, their names.
//
//   #define MRPOOL_MY_COUNTERS(X) X(reads, "commands that read") X(bytes_read, "by these")
//   MRPOOL_DEFINE_COUNTERS(Counters, Totals, MRPOOL_MY_COUNTERS)
//
// defines Counters, which one worker writes, and Totals, the sum of Counters. To add a counter, add
// a line to the table and count the event; the daemon's report and statistics then include it. The
// texts are documentation.
//
// Thread safety: only its worker's thread writes a Counter; any thread may read it.
#pragma once

#include <atomic>
#include <cstdint>

#include "examples/engine/statistics_tree.h"

namespace mrpool::engine {

// Relaxed: no other data depends on a statistic. A single writer needs no read-modify-write.
class Counter {
 public:
  void operator++() { *this += 1; }
  void operator+=(uint64_t n) {
    value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  operator uint64_t() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

}  // namespace mrpool::engine

#define MRPOOL_COUNTER_FIELD_(name, text) ::mrpool::engine::Counter name;
#define MRPOOL_COUNTER_TOTAL_(name, text) uint64_t name = 0;
#define MRPOOL_COUNTER_ADD_(name, text) name += one.name;
#define MRPOOL_COUNTER_REPORT_(name, text) to.add(#name, name);

#define MRPOOL_DEFINE_COUNTERS(Counters, Totals, TABLE)                                   \
  struct alignas(64) Counters {                                                           \
    TABLE(MRPOOL_COUNTER_FIELD_)                                                          \
  };                                                                                      \
  struct Totals {                                                                         \
    TABLE(MRPOOL_COUNTER_TOTAL_)                                                          \
    void add(const Counters& one) { TABLE(MRPOOL_COUNTER_ADD_) }                          \
    void report(::mrpool::engine::Statistics& to) const { TABLE(MRPOOL_COUNTER_REPORT_) } \
  };
