#include "mrpool/segments.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace mrpool {
namespace {

std::byte memory[256];

TEST(SegmentIterator, StartsAtTheGivenOffset) {
  const iovec vector[] = {{memory, 10}, {nullptr, 0}, {memory + 20, 10}, {memory + 40, 10}};
  SegmentIterator at(vector, Lkey{5}, 10);
  EXPECT_EQ(at.front().addr, memory + 20);
  EXPECT_EQ(at.front().length, 10u);
  EXPECT_EQ(at.front().lkey, Lkey{5});
  at.advance(3);
  EXPECT_EQ(at.front(4).addr, memory + 23);
  EXPECT_EQ(at.front(4).length, 4u);
  EXPECT_EQ(at.extent(8).segments, 2u);
  EXPECT_EQ(at.extent(7).segments, 1u);
  EXPECT_EQ(at.extent(100).bytes, 17u);
  at.advance(1000);
  EXPECT_TRUE(at.at_end());
  EXPECT_EQ(at.extent(1).bytes, 0u);
}

TEST(SegmentIterator, NothingIsAtItsEnd) {
  EXPECT_TRUE(SegmentIterator().at_end());
  EXPECT_TRUE(SegmentIterator(std::span<const Sge>()).at_end());
  const Sge empty[] = {{memory, 0, {}}, {memory, 0, {}}};
  EXPECT_TRUE(SegmentIterator(empty).at_end());
  EXPECT_EQ(SegmentIterator(empty).extent(1).segments, 0u);
}

TEST(SegmentIterator, AnIovecBeyondAnSgeIsTakenInPieces) {
  const uint64_t length = (uint64_t{1} << 33) + 5;
  const iovec vector[] = {{memory, size_t(length)}};
  SegmentIterator at(vector, Lkey{5});
  EXPECT_EQ(at.front().length, UINT32_MAX);
  EXPECT_EQ(at.extent(UINT64_MAX).bytes, length);
  at.advance(length - 5);
  EXPECT_EQ(at.front().length, 5u);
}

// Walked in pieces of any size, from any offset, it visits the list's bytes in order.
TEST(SegmentIterator, VisitsEveryByteInOrder) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937_64 rng(seed);
  for (int round = 0; round < 2000; ++round) {
    std::vector<Sge> list(rng() % 12);
    std::vector<std::pair<std::byte*, uint32_t>> bytes;
    for (Sge& sge : list) {
      sge = {memory + rng() % 100, uint32_t(rng() % 20), Lkey{uint32_t(rng())}};
      for (uint32_t i = 0; i < sge.length; ++i) bytes.emplace_back(sge.addr + i, sge.lkey.value);
    }
    size_t next = bytes.empty() ? 0 : rng() % bytes.size();
    SegmentIterator at(list, next);
    while (!at.at_end()) {
      const Sge sge = at.front(1 + rng() % 9);
      ASSERT_GT(sge.length, 0u);
      for (uint32_t i = 0; i < sge.length; ++i, ++next) {
        ASSERT_EQ(bytes[next], std::pair(sge.addr + i, sge.lkey.value));
      }
      at.advance(sge.length);
    }
    ASSERT_EQ(next, bytes.size());
  }
}

}  // namespace
}  // namespace mrpool
