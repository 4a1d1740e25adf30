// Which requests wait for a late one, and how long; no wait is lost between threads.
#include "examples/storage/late_ranges.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "mrpool/callback.h"

namespace mrpool::storage {
namespace {

LateRanges::Range range(uint64_t offset, uint64_t length) {
  LateRanges::Range made;
  made.offset = offset;
  made.length = length;
  return made;
}

struct Waiter {
  void over() { ++overs; }
  int overs = 0;
  Bound<LateRanges::Wait, &Waiter::over> wait{*this};
};

class LateRangesTest : public ::testing::Test {
 protected:
  bool pass(Waiter& waiter, uint64_t offset, uint64_t length) {
    return late.pass(waiter.wait, offset, length, *reactor);
  }
  std::unique_ptr<Reactor> reactor = *Reactor::create();
  LateRanges late;
};

TEST_F(LateRangesTest, KeepsOthersFromItsBytesAlone) {
  EXPECT_FALSE(late.any());
  LateRanges::Range there = range(100, 50);
  late.add(there);
  EXPECT_TRUE(late.any());
  struct Case {
    uint64_t offset, length;
    bool passes;
  };
  constexpr uint64_t kMost = ~uint64_t{0};
  for (const Case& c : {Case{0, 100, true}, Case{0, 101, false}, Case{149, 1, false},
                        Case{150, 10, true}, Case{120, 1, false}, Case{0, kMost, false},
                        Case{kMost, 1, true}, Case{120, 0, false}, Case{150, 0, true}}) {
    Waiter waiter;
    EXPECT_EQ(pass(waiter, c.offset, c.length), c.passes) << c.offset << " " << c.length;
    EXPECT_EQ(late.cancel(waiter.wait), !c.passes);
    EXPECT_FALSE(late.cancel(waiter.wait));
  }
  late.remove(there);
  EXPECT_FALSE(late.any());
}

TEST_F(LateRangesTest, AWaitEndsWithTheLastRangeInItsWay) {
  LateRanges::Range first = range(0, 10);
  LateRanges::Range second = range(5, 10);
  late.add(first);
  late.add(second);
  Waiter behind_both;
  Waiter behind_one;
  EXPECT_FALSE(pass(behind_both, 8, 1));
  EXPECT_FALSE(pass(behind_one, 0, 1));
  late.remove(first);
  reactor->poll();
  EXPECT_EQ(behind_both.overs, 0);
  EXPECT_EQ(behind_one.overs, 1);
  late.remove(second);
  reactor->poll();
  EXPECT_EQ(behind_both.overs, 1);
  EXPECT_TRUE(pass(behind_both, 8, 1));
  EXPECT_FALSE(late.cancel(behind_both.wait));
}

TEST_F(LateRangesTest, AWaitThatIsOverCanStillBeTakenBack) {
  LateRanges::Range there = range(0, 10);
  late.add(there);
  Waiter waiter;
  EXPECT_FALSE(pass(waiter, 0, 1));
  late.remove(there);
  EXPECT_TRUE(late.cancel(waiter.wait));
  reactor->poll();
  EXPECT_EQ(waiter.overs, 0);
}

// Threads that write one byte each in turn: late ranges come and go, and who passes finds none of
// another thread's there.
TEST(LateRangesThreads, NoWaitIsLost) {
  constexpr int kThreads = 3;
  constexpr int kRounds = 2000;
  LateRanges late;
  std::atomic<int> done{0};
  const auto run = [&] {
    const auto reactor = *Reactor::create();
    for (int i = 0; i < kRounds; ++i) {
      LateRanges::Range mine = range(uint64_t(i) % 4, 2);
      late.add(mine);
      late.remove(mine);
      Waiter waiter;
      if (i % 3 == 0) {
        if (!late.pass(waiter.wait, uint64_t(i) % 4, 2, *reactor) && !late.cancel(waiter.wait)) {
          EXPECT_EQ(waiter.overs, 1);
        }
        continue;
      }
      while (!late.pass(waiter.wait, uint64_t(i) % 4, 2, *reactor)) {
        const int before = waiter.overs;
        while (waiter.overs == before) reactor->poll();
      }
    }
    ++done;
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) threads.emplace_back(run);
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(done, kThreads);
  EXPECT_FALSE(late.any());
}

}  // namespace
}  // namespace mrpool::storage
