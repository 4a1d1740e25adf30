#include "examples/base/peer_log.h"

#include <gtest/gtest.h>

namespace mrpool::base {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST(PeerLog, AFloodOfLinesIsCountedAndNotWritten) {
  LineBudget budget;
  const auto begin = seconds(1000);
  for (uint32_t i = 0; i < LineBudget::kBurst; ++i) EXPECT_EQ(budget.take(begin), 0u);
  for (int i = 0; i < 5000; ++i) EXPECT_FALSE(budget.take(begin));
  // After the time of one line, one line is permitted, which reports the suppressed ones.
  EXPECT_EQ(budget.take(begin + LineBudget::kPerLine), 5000u);
  EXPECT_FALSE(budget.take(begin + LineBudget::kPerLine));
}

TEST(PeerLog, TheBudgetFillsAgainAndNoFurther) {
  LineBudget budget;
  const auto begin = seconds(1000);
  while (budget.take(begin)) {
  }
  const auto later = begin + seconds(3600);
  EXPECT_EQ(budget.take(later), 1u);
  uint32_t lines = 1;
  while (budget.take(later)) ++lines;
  EXPECT_EQ(lines, LineBudget::kBurst);
}

TEST(PeerLog, AFewLinesNowAndThenAllGoOut) {
  LineBudget budget;
  for (int i = 0; i < 10000; ++i) EXPECT_EQ(budget.take(milliseconds(50) * i), 0u);
}

}  // namespace
}  // namespace mrpool::base
