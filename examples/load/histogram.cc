#include "examples/load/histogram.h"

#include <algorithm>
#include <cmath>

namespace mrpool::load {

void Histogram::merge(const Histogram& other) {
  for (size_t i = 0; i < kBuckets; ++i) buckets_[i] += other.buckets_[i];
  count_ += other.count_;
  sum_ += other.sum_;
  sum_squares_ += other.sum_squares_;
  min_ = std::min(min_, other.min_);
  max_ = std::max(max_, other.max_);
}

double Histogram::stddev() const {
  if (count_ < 2) return 0;
  const double mean_ns = mean();
  return std::sqrt(std::max(0.0, sum_squares_ / double(count_) - mean_ns * mean_ns));
}

uint64_t Histogram::upper_end(size_t index) {
  if (index < kLinear) return index;
  // index() maps [kLinear << s, 2 * kLinear << s) to [kLinear + s * kLinear, ...).
  const size_t shift = (index >> kLinearBits) - 1;
  const uint64_t mantissa = index - (shift << kLinearBits);
  return (mantissa << shift) + ((uint64_t{1} << shift) - 1);
}

uint64_t Histogram::percentile(double percent) const {
  if (count_ == 0) return 0;
  const auto rank = uint64_t(std::ceil(percent / 100 * double(count_)));
  uint64_t seen = 0;
  for (size_t i = 0; i < kBuckets; ++i) {
    seen += buckets_[i];
    if (seen >= std::max<uint64_t>(rank, 1)) return std::clamp(upper_end(i), min_, max_);
  }
  return max_;
}

}  // namespace mrpool::load
