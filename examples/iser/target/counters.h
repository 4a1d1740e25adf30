// What the target counts. Every worker has counters of its own; the sum is what people see.
//
// Thread safety: a Counter is written by its worker's thread only and read by anyone.
#pragma once

#include <atomic>
#include <cstdint>

namespace mrpool::iser_target {

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

template <typename Value>
struct CounterSet {
  Value connections{};  // accepted since the start
  Value logins{};
  Value refused_logins{};
  Value commands{};
  Value reads{};
  Value writes{};
  Value bytes_read{};
  Value bytes_written{};
  Value check_conditions{};
  Value aborted{};
  Value rejects{};
  Value protocol_errors{};
};

struct alignas(64) Counters : CounterSet<Counter> {};

struct Totals : CounterSet<uint64_t> {
  void add(const Counters& one) {
    connections += one.connections;
    logins += one.logins;
    refused_logins += one.refused_logins;
    commands += one.commands;
    reads += one.reads;
    writes += one.writes;
    bytes_read += one.bytes_read;
    bytes_written += one.bytes_written;
    check_conditions += one.check_conditions;
    aborted += one.aborted;
    rejects += one.rejects;
    protocol_errors += one.protocol_errors;
  }
};

}  // namespace mrpool::iser_target
