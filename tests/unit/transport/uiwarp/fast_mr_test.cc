#include "transport/uiwarp/fast_mr.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <vector>

#include "mrpool/mr_pool.h"

namespace mrpool::uiwarp {
namespace {

constexpr uint32_t kMrs = 10'000;
constexpr uint32_t kSegments = 256;
constexpr int64_t kMiB = 1 << 20;

int64_t resident_bytes() {
  int64_t total = 0;
  int64_t resident = 0;
  std::ifstream("/proc/self/statm") >> total >> resident;
  return resident * int64_t(::sysconf(_SC_PAGESIZE));
}

class FastMrMemory : public ::testing::Test {
 protected:
  void SetUp() override {
    device = *Device::open(*Address::parse("uiwarp://127.0.0.1:0"));
    pd = *device->alloc_pd();
    mr = *pd->reg_mr(memory, Access::kLocalWrite);
    before = resident_bytes();
  }
  // What a pool costs whose MRs were all mapped once, with `segments` each.
  int64_t resident_with(size_t segments) {
    auto pool = *MrPool::create(*pd, {.count = kMrs,
                                      .type = MrPoolType::kSgGaps,
                                      .max_segments = kSegments,
                                      .access = Access::kLocalWrite});
    const std::vector<Sge> sges = list(segments);
    std::vector<MrPool::Lease> leases(kMrs);
    for (MrPool::Lease& lease : leases) {
      lease = pool->get();
      EXPECT_EQ(lease.map(sges), segments);
    }
    return resident_bytes() - before;
  }
  // One byte each, with gaps between them.
  std::vector<Sge> list(size_t segments) const {
    std::vector<Sge> sges;
    for (size_t i = 0; i < segments; ++i) sges.push_back(mr->sge(2 * i, 1));
    return sges;
  }

  std::vector<std::byte> memory = std::vector<std::byte>(4096);
  std::shared_ptr<Device> device;
  std::unique_ptr<Pd> pd;
  std::unique_ptr<Mr> mr;
  int64_t before = 0;
};

TEST_F(FastMrMemory, SegmentsArePaidForWhenTheyAreUsed) {
  for (const size_t segments : {1u, 4u, 16u, 256u}) {
    const int64_t bytes = resident_with(segments);
    std::printf("%u MRs of %u segments, %zu of each mapped: %.1f MiB\n", kMrs, kSegments, segments,
                double(bytes) / double(kMiB));
    // Twice 256 segments of 40 bytes each would be 195 MiB. Sanitizers add to every allocation.
    if (segments <= 4) {
      EXPECT_LT(bytes, 64 * kMiB);
    }
  }
}

TEST_F(FastMrMemory, PagesGoBackWithTheirMrs) {
  EXPECT_GT(resident_with(kSegments), 90 * kMiB);
  EXPECT_LT(resident_bytes() - before, 64 * kMiB);
}

// The same MR with few and many segments in turn, each as long as it was mapped.
TEST_F(FastMrMemory, MappingsOfEveryLengthFollowEachOther) {
  const FastMrOptions options{.max_segments = 20, .sg_gaps = true};
  auto fast = *pd->alloc_fast_mr(options);
  for (const size_t segments : {1u, 4u, 5u, 20u, 3u, 6u, 4u, 19u}) {
    EXPECT_EQ(fast->map(list(segments)), segments);
    EXPECT_EQ(fast->length(), segments);
  }
  EXPECT_EQ(fast->map(list(21)), 20u);
  auto narrow = *pd->alloc_fast_mr({.max_segments = 4, .sg_gaps = true});
  EXPECT_EQ(narrow->map(list(5)), 4u);
}

}  // namespace
}  // namespace mrpool::uiwarp
