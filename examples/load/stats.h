// Counts and latencies of one job, and what other threads may watch meanwhile.
//
// Units: nanoseconds and bytes.
// Thread safety: JobStats belongs to its job's thread until the job has ended. Progress: one
// writer, any readers; its counters are exact at the end and each by itself meanwhile.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>

#include "examples/load/histogram.h"

namespace mrpool::load {

enum class Direction : uint8_t { kRead = 0, kWrite = 1 };

struct DirectionStats {
  uint64_t ios = 0;
  uint64_t bytes = 0;
  Histogram latency;

  void merge(const DirectionStats& other) {
    ios += other.ios;
    bytes += other.bytes;
    latency.merge(other.latency);
  }
};

struct JobStats {
  DirectionStats direction[2];
  std::chrono::nanoseconds runtime{0};  // measured part
  uint64_t io_errors = 0;
  uint64_t verified = 0;  // blocks whose content was checked
  uint64_t verify_errors = 0;
  std::string first_error;

  bool failed() const { return io_errors + verify_errors != 0; }
  // `runtime` becomes the longest.
  void merge(const JobStats& other);
};

// Relaxed counters: a job adds, the live line looks.
struct alignas(64) Progress {
  std::atomic<uint64_t> ios[2] = {};
  std::atomic<uint64_t> bytes[2] = {};
  std::atomic<uint64_t> errors = 0;

  void add(Direction direction, uint64_t n) {
    // One writer: a load and a store, no locked instruction.
    auto& count = ios[size_t(direction)];
    count.store(count.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    auto& sum = bytes[size_t(direction)];
    sum.store(sum.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
};

}  // namespace mrpool::load
