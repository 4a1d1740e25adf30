// What a target counts, from one table: each worker's counters, their sums, their names.
//
//   #define MRPOOL_MY_COUNTERS(X) X(reads, "commands that read") X(bytes_read, "by these")
//   MRPOOL_DEFINE_COUNTERS(Counters, Totals, MRPOOL_MY_COUNTERS)
//
// defines Counters, which one worker writes, and Totals, which adds Counters up. To add a counter,
// add a line to the table and count the event: the report of the daemon and its statistics follow.
// The texts are documentation.
//
// Thread safety: a Counter is written by its worker's thread only and read by anyone.
#pragma once

#include <atomic>
#include <cstdint>

#include "examples/engine/statistics_tree.h"

namespace mrpool::engine {

// Relaxed: a statistic orders nothing. Its one writer needs no read-modify-write.
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
