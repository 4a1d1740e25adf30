// The messages to a service manager and their times; no sockets and no threads.
#include "examples/engine/supervision.h"

#include <gtest/gtest.h>

namespace mrpool::engine {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST(Heartbeat, BeatsOftenEnoughForTheWatchdog) {
  EXPECT_EQ(Heartbeat(seconds(8)).period(), seconds(2));
  EXPECT_EQ(Heartbeat(seconds(60)).period(), seconds(5)) << "the state is told as often";
  EXPECT_EQ(Heartbeat(milliseconds(1)).period(), milliseconds(10));
  EXPECT_EQ(Heartbeat(std::nullopt).period(), seconds(5));
}

TEST(Heartbeat, ReportsAStateOnce) {
  Heartbeat heart(seconds(8));
  EXPECT_EQ(heart.beat({}, "1 stores", seconds(1)).state, "WATCHDOG=1\nSTATUS=1 stores");
  EXPECT_EQ(heart.beat({}, "1 stores", seconds(2)).state, "WATCHDOG=1");
  EXPECT_EQ(heart.beat({}, "2 stores", seconds(3)).state, "WATCHDOG=1\nSTATUS=2 stores");
}

TEST(Heartbeat, StarvesTheWatchdogWhileAWorkerIsSilent) {
  Heartbeat heart(seconds(8));
  (void)heart.beat({}, "fine", seconds(1));
  const auto first = heart.beat({1}, "fine", seconds(3));
  EXPECT_EQ(first.state, "STATUS=fine; worker 1 does not answer");
  ASSERT_TRUE(first.missed);
  EXPECT_EQ(*first.missed,
            "worker 1 does not answer; the service manager ends this process 8s after the last "
            "answer");
  const auto second = heart.beat({1}, "fine", seconds(5));
  EXPECT_EQ(second.state, "");
  EXPECT_FALSE(second.missed) << "once an episode";
  EXPECT_EQ(heart.beat({}, "fine", seconds(7)).state, "WATCHDOG=1\nSTATUS=fine");
  EXPECT_TRUE(heart.beat({0}, "fine", seconds(9)).missed);
}

TEST(Heartbeat, WithoutAWatchdogOnlyTheState) {
  Heartbeat heart(std::nullopt);
  EXPECT_EQ(heart.beat({}, "fine", seconds(1)).state, "STATUS=fine");
  const auto silent = heart.beat({0, 1}, "fine", seconds(2));
  EXPECT_EQ(silent.state, "STATUS=fine; worker 0, 1 does not answer");
  EXPECT_FALSE(silent.missed);
}

}  // namespace
}  // namespace mrpool::engine
