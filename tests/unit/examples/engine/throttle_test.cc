// Commands that a limit holds back, on a virtual clock: their order, their number, and what cancels
// or releases them.
#include "examples/engine/throttle.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <memory>
#include <vector>

#include "tests/sim/reactor.h"

namespace mrpool::engine {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr uint64_t kBlock = 4096;

struct Host;

struct One : HeldCommand {
  One(Host& h, int n) : HeldCommand(&One::gone), host(h), number(n) {}
  static void gone(HeldCommand& self);
  Host& host;
  const int number;
};

struct Host {
  Host(sim::SimReactor& loop, std::shared_ptr<Throttle> of)
      : reactor(loop), throttle(std::move(of)) {}

  // True if it went at once.
  bool send(const IoCost& cost = {.commands = 1, .read = kBlock, .written = 0}) {
    all.push_back(std::make_unique<One>(*this, int(all.size())));
    const bool passed = throttle->pass(*all.back(), cost);
    if (passed) went.push_back(all.back()->number);
    return passed;
  }

  sim::SimReactor& reactor;
  std::shared_ptr<Throttle> throttle;
  std::deque<std::unique_ptr<One>> all;
  std::vector<int> went;
  std::function<void(One&)> then;
};

void One::gone(HeldCommand& self) {
  One& one = static_cast<One&>(self);
  EXPECT_FALSE(one.held());
  one.host.went.push_back(one.number);
  if (one.host.then) one.host.then(one);
}

class ThrottleTest : public ::testing::Test {
 protected:
  Host host(const std::shared_ptr<Limiter>& limiter, const char* name = "host") {
    return {reactor_, throttles_.get(limiter, name)};
  }
  void run_for(Nanoseconds time) {
    const Nanoseconds end = reactor_.now() + time;
    while (reactor_.now() < end && reactor_.step()) {
    }
  }

  sim::SimReactor reactor_;
  Throttles throttles_{reactor_};
  std::shared_ptr<Limiter> limiter_ =
      std::make_shared<Limiter>(RateLimits{.rw_ios_per_sec = 1000, .burst_ms = 10});
};

TEST_F(ThrottleTest, HoldsCommandsInTheirOrder) {
  Host one = host(limiter_);
  int at_once = 0;
  for (int i = 0; i < 60; ++i) at_once += one.send() ? 1 : 0;
  EXPECT_EQ(at_once, 10);
  run_for(milliseconds(25));
  EXPECT_NEAR(double(one.went.size()), 35, 1);
  run_for(milliseconds(30));
  ASSERT_EQ(one.went.size(), 60u);
  EXPECT_TRUE(std::ranges::is_sorted(one.went));
  EXPECT_FALSE(reactor_.step()) << "no timer is left";
}

TEST_F(ThrottleTest, ACancelledCommandLeavesTheOthers) {
  Host one = host(limiter_);
  for (int i = 0; i < 14; ++i) (void)one.send();
  one.all[10]->cancel();
  one.all[12]->cancel();
  EXPECT_FALSE(one.all[12]->held());
  run_for(milliseconds(20));
  EXPECT_EQ(one.went, (std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 13}));
  for (int i = 0; i < 3; ++i) (void)one.send();
  for (int i = 14; i < 17; ++i) {
    if (one.all[size_t(i)]->held()) one.all[size_t(i)]->cancel();
  }
  EXPECT_FALSE(one.throttle->busy());
}

TEST_F(ThrottleTest, TwoHostsTakeTurns) {
  Host flood = host(limiter_, "flood");
  Host honest = host(limiter_, "honest");
  for (int i = 0; i < 500; ++i) (void)flood.send();
  for (int i = 0; i < 20; ++i) EXPECT_FALSE(honest.send());
  run_for(milliseconds(41));
  EXPECT_NEAR(double(honest.went.size()), 20, 1) << "every second turn, though it came last";
  EXPECT_NEAR(double(flood.went.size()), 30, 1);
}

TEST_F(ThrottleTest, ReadsDoNotWaitForWrites) {
  limiter_->set({.w_mbytes_per_sec = 1, .burst_ms = 1});
  Host one = host(limiter_);
  for (int i = 0; i < 10; ++i) {
    EXPECT_FALSE(one.send({.commands = 1, .read = 0, .written = 64 << 10}));
  }
  EXPECT_TRUE(one.send());
  run_for(seconds(1));
  EXPECT_EQ(one.went.size(), 11u);
}

TEST_F(ThrottleTest, RemovingTheLimitReleasesAllCommands) {
  limiter_->set({.rw_ios_per_sec = 1});
  Host one = host(limiter_);
  for (int i = 0; i < 100; ++i) (void)one.send();
  run_for(milliseconds(200));
  EXPECT_EQ(one.went.size(), 1u);
  limiter_->set({});
  run_for(milliseconds(100));
  EXPECT_EQ(one.went.size(), 100u);
}

// The other hosts of the thread have their turns meanwhile.
TEST_F(ThrottleTest, ALineEmptiesInSeveralRounds) {
  limiter_->set({.rw_ios_per_sec = 1});
  Host one = host(limiter_);
  for (int i = 0; i < 200; ++i) (void)one.send();
  limiter_->set({});
  while (one.went.size() < 2) ASSERT_TRUE(reactor_.step());
  EXPECT_LE(one.went.size(), 33u);
  Host other = host(limiter_, "other");
  EXPECT_TRUE(other.send()) << "it waits for nobody";
  run_for(milliseconds(100));
  EXPECT_EQ(one.went.size(), 200u);
}

TEST_F(ThrottleTest, AHigherLimitAppliesToWhatWaits) {
  limiter_->set({.rw_ios_per_sec = 1});
  Host one = host(limiter_);
  for (int i = 0; i < 100; ++i) (void)one.send();
  limiter_->set({.rw_ios_per_sec = 1000});
  run_for(milliseconds(160));
  EXPECT_EQ(one.went.size(), 100u);
}

// What is released may send again, and end the host's connection to the limit.
TEST_F(ThrottleTest, ReleasedCommandsMayDoAnything) {
  Host one = host(limiter_);
  int more = 20;
  one.then = [&](One&) {
    if (more-- > 0) (void)one.send();
    one.throttle = throttles_.get(limiter_, "host");
  };
  for (int i = 0; i < 15; ++i) (void)one.send();
  run_for(milliseconds(40));
  EXPECT_EQ(one.went.size(), 35u);
  one.then = [&](One&) {
    one.throttle.reset();
    (void)throttles_.get(std::make_shared<Limiter>(), "other");
  };
  while (one.send()) {
  }
  run_for(milliseconds(10));
  EXPECT_EQ(one.throttle, nullptr);
}

}  // namespace
}  // namespace mrpool::engine
