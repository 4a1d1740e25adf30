#include "examples/load/histogram.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

namespace mrpool::load {
namespace {

TEST(Histogram, EmptyIsAllZero) {
  const Histogram h;
  EXPECT_EQ(h.count(), 0u);
  EXPECT_EQ(h.percentile(99), 0u);
  EXPECT_EQ(h.min(), 0u);
  EXPECT_EQ(h.mean(), 0);
}

TEST(Histogram, PercentilesAreWithinABucketOfTheTruth) {
  std::mt19937_64 bits(7);
  std::lognormal_distribution<double> latency(10, 2);
  Histogram h;
  std::vector<uint64_t> all;
  for (int i = 0; i < 100'000; ++i) {
    all.push_back(uint64_t(latency(bits)));
    h.add(all.back());
  }
  std::sort(all.begin(), all.end());
  for (const double p : {1.0, 50.0, 90.0, 99.0, 99.9, 99.99}) {
    const double exact = double(all[size_t(std::ceil(p / 100 * double(all.size()))) - 1]);
    EXPECT_NEAR(double(h.percentile(p)), exact, exact / 60 + 1) << p;
    EXPECT_GE(double(h.percentile(p)), exact) << p;
  }
  EXPECT_EQ(h.min(), all.front());
  EXPECT_EQ(h.max(), all.back());
  EXPECT_EQ(h.percentile(100), all.back());
}

TEST(Histogram, AcceptsTheLargestValue) {
  Histogram h;
  h.add(0);
  h.add(~uint64_t{0});
  EXPECT_EQ(h.percentile(50), 0u);
  EXPECT_EQ(h.percentile(100), ~uint64_t{0});
}

TEST(Histogram, MergeIsAsIfAllHadGoneIntoOne) {
  Histogram a;
  Histogram b;
  Histogram both;
  for (uint64_t i = 1; i < 1000; ++i) {
    (i % 3 == 0 ? a : b).add(i * i);
    both.add(i * i);
  }
  a.merge(b);
  EXPECT_EQ(a.count(), both.count());
  EXPECT_DOUBLE_EQ(a.mean(), both.mean());
  EXPECT_NEAR(a.stddev(), both.stddev(), 1e-3 * both.stddev());
  for (const double p : {10.0, 50.0, 99.0}) EXPECT_EQ(a.percentile(p), both.percentile(p));
}

}  // namespace
}  // namespace mrpool::load
