// The histogram buckets of commands: five classes by size, powers of two by latency.
//
// Both classifications are a few instructions without a branch or a table, because the data path
// uses them. Bounds are inclusive, like Prometheus' `le`.
//
// Thread safety: pure.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace mrpool::metrics {

// Up to 4 KiB, 16 KiB, 64 KiB, 256 KiB, and more.
inline constexpr size_t kSizeClasses = 5;
inline constexpr std::array<const char*, kSizeClasses> kSizeNames = {"4KiB", "16KiB", "64KiB",
                                                                     "256KiB", "more"};
constexpr size_t size_class(uint64_t bytes) {
  const uint64_t quads = (std::max<uint64_t>(bytes, 1) - 1) >> 12;
  return std::min<size_t>((size_t(std::bit_width(quads)) + 1) / 2, kSizeClasses - 1);
}

// Up to 8 us, 16 us, ... 8.4 s; one more bucket counts slower commands.
inline constexpr size_t kLatencyBounds = 21;
inline constexpr size_t kLatencyBuckets = kLatencyBounds + 1;
constexpr uint64_t latency_bound_ns(size_t bucket) { return uint64_t{8000} << bucket; }
// As if there were a bucket for every power of two.
constexpr size_t latency_power(uint64_t ns) {
  const uint64_t eights = (std::max<uint64_t>(ns, 1) - 1) / 8000;
  return size_t(std::bit_width(eights));
}
constexpr size_t latency_bucket(uint64_t ns) { return std::min(latency_power(ns), kLatencyBounds); }
// A command is slow above this bound.
inline constexpr size_t kSlowBound = 17;  // 1.05 s

}  // namespace mrpool::metrics
