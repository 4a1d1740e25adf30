// A latency histogram with a bounded relative error and a fixed size.
//
// Buckets are linear within each power of two (64 of them), so a percentile is within 1.6 % of the
// true value at any magnitude. add() touches one counter and five words; no allocation after
// construction. Units: nanoseconds.
// Thread safety: distinct objects: safe. merge() wants both quiet.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

namespace mrpool::load {

class Histogram {
 public:
  Histogram() : buckets_(kBuckets) {}

  void add(uint64_t ns) {
    ++buckets_[index(ns)];
    ++count_;
    sum_ += double(ns);
    sum_squares_ += double(ns) * double(ns);
    min_ = ns < min_ ? ns : min_;
    max_ = ns > max_ ? ns : max_;
  }
  void merge(const Histogram& other);

  uint64_t count() const { return count_; }
  uint64_t min() const { return count_ == 0 ? 0 : min_; }
  uint64_t max() const { return max_; }
  double mean() const { return count_ == 0 ? 0 : sum_ / double(count_); }
  double stddev() const;
  // The value `percent` of the samples do not exceed; 0 without samples.
  uint64_t percentile(double percent) const;
  // Calls `call(ns, samples)` for the buckets with samples, smallest first; `ns` is the largest
  // value of the bucket.
  template <typename Each>
  void each(const Each& call) const {
    for (size_t i = 0; i < kBuckets; ++i) {
      if (buckets_[i] != 0) call(upper_end(i), buckets_[i]);
    }
  }

 private:
  static constexpr int kLinearBits = 6;
  static constexpr uint64_t kLinear = 1u << kLinearBits;
  static constexpr size_t kBuckets = (64 - kLinearBits + 1) * kLinear;

  static size_t index(uint64_t ns) {
    if (ns < kLinear) return ns;
    const int shift = std::bit_width(ns) - kLinearBits - 1;
    return (size_t(shift) << kLinearBits) + (ns >> shift);
  }
  static uint64_t upper_end(size_t index);

  std::vector<uint64_t> buckets_;
  uint64_t count_ = 0;
  double sum_ = 0;
  double sum_squares_ = 0;
  uint64_t min_ = std::numeric_limits<uint64_t>::max();
  uint64_t max_ = 0;
};

}  // namespace mrpool::load
