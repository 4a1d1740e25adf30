#include "transport/checker/guard/interval_map.h"

#include <gmock/gmock.h>

namespace mrpool::guard {

bool operator==(const Range& a, const Range& b) { return a.begin == b.begin && a.end == b.end; }

namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

TEST(IntervalMap, BytesBelongToTheLastThatWasAdded) {
  IntervalMap map;
  map.add({100, 200}, 1);
  map.add({150, 160}, 2);
  EXPECT_EQ(map.at(99), 0u);
  EXPECT_EQ(map.at(100), 1u);
  EXPECT_EQ(map.at(150), 2u);
  EXPECT_EQ(map.at(160), 1u);
  EXPECT_EQ(map.at(199), 1u);
  EXPECT_EQ(map.at(200), 0u);
  EXPECT_THAT(map.take(1), UnorderedElementsAre(Range{100, 150}, Range{160, 200}));
  EXPECT_EQ(map.at(100), 0u);
  EXPECT_EQ(map.at(155), 2u);
}

TEST(IntervalMap, CoveredRangesAreGone) {
  IntervalMap map;
  map.add({100, 200}, 1);
  map.add({200, 300}, 2);
  map.add({50, 250}, 3);
  EXPECT_THAT(map.take(1), IsEmpty());
  EXPECT_THAT(map.take(2), ElementsAre(Range{250, 300}));
  EXPECT_THAT(map.take(3), ElementsAre(Range{50, 250}));
  EXPECT_THAT(map.take(3), IsEmpty());
}

TEST(IntervalMap, SameBytesAgainAreTheLaters) {
  IntervalMap map;
  map.add({100, 200}, 1);
  map.add({100, 200}, 2);
  EXPECT_THAT(map.take(1), IsEmpty());
  EXPECT_EQ(map.at(100), 2u);
}

TEST(IntervalMap, ClearedPartsAreReportedAndRemoved) {
  IntervalMap map;
  map.add({100, 200}, 1);
  map.add({200, 300}, 2);
  std::vector<Range> cleared;
  map.clear({150, 250}, [&](Range range, Handle) { cleared.push_back(range); });
  EXPECT_THAT(cleared, ElementsAre(Range{150, 200}, Range{200, 250}));
  EXPECT_EQ(map.at(149), 1u);
  EXPECT_EQ(map.at(150), 0u);
  EXPECT_EQ(map.at(250), 2u);
}

}  // namespace
}  // namespace mrpool::guard
