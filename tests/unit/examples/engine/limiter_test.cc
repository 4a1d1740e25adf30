// Token buckets on times that the test makes up: what a limit lets through in any window, that it
// is never idle while something waits, and how hosts share it.
#include "examples/engine/limiter.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <memory>
#include <random>
#include <vector>

namespace mrpool::engine {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;

constexpr Nanoseconds kStart = seconds(1000);
constexpr uint64_t kMebibyte = 1 << 20;

IoCost read_of(uint64_t bytes) { return {.commands = 1, .read = bytes, .written = 0}; }
IoCost write_of(uint64_t bytes) { return {.commands = 1, .read = 0, .written = bytes}; }

TEST(Limiter, LetsTheBurstThroughAndThenTheRate) {
  Limiter limiter({.rw_ios_per_sec = 1000, .burst_ms = 10});
  int passed = 0;
  while (limiter.take(read_of(4096), kStart)) ++passed;
  EXPECT_EQ(passed, 10);
  EXPECT_FALSE(limiter.take(read_of(4096), kStart + nanoseconds(999'999)));
  EXPECT_TRUE(limiter.take(read_of(4096), kStart + milliseconds(1)));
  EXPECT_FALSE(limiter.take(read_of(4096), kStart + milliseconds(1)));
  passed = 0;
  while (limiter.take(read_of(4096), kStart + seconds(5))) ++passed;
  EXPECT_EQ(passed, 10) << "a pause saves no more than the burst";
}

TEST(Limiter, ReadsAndWritesHaveTheirOwnLimits) {
  Limiter limiter({.r_mbytes_per_sec = 100, .w_mbytes_per_sec = 1, .burst_ms = 1000});
  EXPECT_TRUE(limiter.by_direction());
  EXPECT_TRUE(limiter.take(write_of(kMebibyte), kStart));
  EXPECT_FALSE(limiter.take(write_of(4096), kStart));
  EXPECT_TRUE(limiter.take(read_of(100 * kMebibyte), kStart));
  EXPECT_FALSE(limiter.take(read_of(4096), kStart));
}

TEST(Limiter, TakesNothingIfOneOfTheLimitsHasTooLittle) {
  Limiter limiter({.rw_ios_per_sec = 1000, .r_mbytes_per_sec = 1, .burst_ms = 10});
  EXPECT_FALSE(limiter.take(read_of(kMebibyte), kStart)) << "a second's worth";
  int passed = 0;
  while (limiter.take(write_of(4096), kStart)) ++passed;
  EXPECT_EQ(passed, 10) << "the refused read has given its command back";
}

TEST(Limiter, ASingleCommandAfterAPauseIsNotHeldBack) {
  Limiter limiter({.rw_ios_per_sec = 2, .burst_ms = 1});
  EXPECT_TRUE(limiter.take(read_of(512), kStart));
  EXPECT_FALSE(limiter.take(read_of(512), kStart + milliseconds(499)));
  EXPECT_TRUE(limiter.take(read_of(512), kStart + milliseconds(500)));
}

TEST(Limiter, WithoutLimitsEverythingPasses) {
  Limiter limiter;
  EXPECT_FALSE(limiter.limits_something());
  EXPECT_TRUE(limiter.take(read_of(uint64_t{1} << 40), kStart));
}

// A host with commands of one size that wait in one line; as many as it likes.
struct Line {
  Line(Limiter& limiter, HostTurns& turns, const IoCost& each, uint64_t depth)
      : credit(limiter, turns), cost(each), waiting(depth) {}

  void reserve(Nanoseconds now) {
    IoCost all;
    for (uint64_t i = 0; i < waiting; ++i) all.add(cost);
    due = credit.reserve(all, now);
  }
  // Its time has come: starts what it can.
  uint64_t turn(Nanoseconds now, bool refill) {
    credit.collect();
    uint64_t started = 0;
    while (waiting > 0 && credit.pay(cost)) {
      ++started;
      if (!refill) --waiting;
    }
    passed += started;
    if (waiting > 0) reserve(now);
    return started;
  }

  Credit credit;
  const IoCost cost;
  uint64_t waiting;
  uint64_t passed = 0;
  Nanoseconds due{};
};

// Serves the lines in the order of their reservations until `end`.
template <typename Started>
void serve(std::vector<Line*> lines, Nanoseconds end, const Started& started) {
  Nanoseconds now = kStart;
  for (Line* line : lines) line->reserve(now);
  while (true) {
    Line& next = **std::ranges::min_element(lines, {}, [](const Line* line) { return line->due; });
    now = std::max(now, next.due);
    if (now > end) return;
    started(next, now, next.turn(now, true));
  }
}

// In any window of time t, at most rate*t + burst + one command of each line; and at the end, all
// of the rate was used.
TEST(Limiter, IsExactInEveryWindow) {
  std::mt19937_64 random(7);
  SCOPED_TRACE("seed 7");
  for (int round = 0; round < 30; ++round) {
    const RateLimits limits{.rw_mbytes_per_sec = 1 + random() % 400,
                            .burst_ms = uint32_t(1 + random() % 50)};
    Limiter limiter(limits);
    const double rate = double(limits.rw_mbytes_per_sec) * double(kMebibyte) / 1e9;
    std::vector<std::unique_ptr<HostTurns>> hosts;
    std::vector<std::unique_ptr<Line>> own;
    std::vector<Line*> lines;
    double largest = 0;
    for (uint64_t i = 0, n = 1 + random() % 4; i < n; ++i) {
      const uint64_t bytes = (1 + random() % 256) * 4096;
      largest += double(bytes);
      hosts.push_back(std::make_unique<HostTurns>());
      own.push_back(std::make_unique<Line>(limiter, *hosts.back(), write_of(bytes), 32));
      lines.push_back(own.back().get());
    }
    struct Start {
      double at;
      double bytes;
    };
    std::vector<Start> starts;
    const Nanoseconds end = kStart + seconds(2);
    serve(lines, end, [&](const Line& line, Nanoseconds now, uint64_t count) {
      starts.push_back({double((now - kStart).count()), double(line.cost.written * count)});
    });
    const double room = rate * double(limits.burst_ms) * 1e6 + largest + 1;
    double sum = 0, lowest = 0;
    for (const Start& start : starts) {  // sum - rate*at never rises by more than the room
      lowest = std::min(lowest, sum - rate * start.at);
      sum += start.bytes;
      ASSERT_LE(sum - rate * start.at - lowest, room) << "round " << round;
    }
    EXPECT_GE(sum, rate * 2e9 * 0.999 - room) << "round " << round << ": idle while lines waited";
  }
}

// Turns that come only every millisecond, as on a busy thread.
TEST(Limiter, IsUsedInFullByLateTurns) {
  for (const size_t count : {1, 2, 5}) {
    Limiter limiter({.rw_ios_per_sec = 100'000, .burst_ms = 10});
    std::vector<std::unique_ptr<HostTurns>> hosts;
    std::vector<std::unique_ptr<Line>> lines;
    for (size_t i = 0; i < count; ++i) {
      hosts.push_back(std::make_unique<HostTurns>());
      lines.push_back(std::make_unique<Line>(limiter, *hosts.back(), read_of(4096), 640));
      lines.back()->reserve(kStart);
    }
    for (Nanoseconds now = kStart; now < kStart + seconds(1); now += milliseconds(1)) {
      for (const auto& line : lines) {
        if (line->due <= now) (void)line->turn(now, true);
      }
    }
    uint64_t all = 0;
    for (const auto& line : lines) all += line->passed;
    EXPECT_GE(all, 98'000u) << count;
    EXPECT_LE(all, 101'000u) << count;
    for (const auto& line : lines) {
      EXPECT_GT(double(line->passed), 0.6 * double(all) / double(count)) << count;
    }
  }
}

// One host's thread is busy, the other's is not.
TEST(Limiter, LateTurnsKeepTheShareOfOthers) {
  Limiter limiter({.rw_ios_per_sec = 100'000, .burst_ms = 10});
  HostTurns busy, idle;
  Line late(limiter, busy, read_of(4096), 640), prompt(limiter, idle, read_of(4096), 640);
  late.reserve(kStart);
  prompt.reserve(kStart);
  int round = 0;
  for (Nanoseconds now = kStart; now < kStart + seconds(1); now += microseconds(20)) {
    if (prompt.due <= now) (void)prompt.turn(now, true);
    if (++round % 50 == 0 && late.due <= now) (void)late.turn(now, true);
  }
  EXPECT_GT(late.passed + prompt.passed, 98'000u);
  EXPECT_GT(prompt.passed, 40'000u);
  EXPECT_GT(late.passed, 20'000u);
}

TEST(Limiter, HostsShareBytesWhateverTheSizeOfTheirCommands) {
  Limiter limiter({.rw_mbytes_per_sec = 100});
  HostTurns one, other;
  Line small(limiter, one, read_of(4096), 32);
  Line large(limiter, other, read_of(kMebibyte), 4);
  serve({&small, &large}, kStart + seconds(4), [](const auto&...) {});
  const double ratio = double(small.passed * 4096) / double(large.passed * kMebibyte);
  EXPECT_NEAR(ratio, 1.0, 0.05);
}

TEST(Limiter, HostsShareCommandsOfALimitOfCommands) {
  Limiter limiter({.rw_ios_per_sec = 5000});
  HostTurns turns[3];
  Line a(limiter, turns[0], read_of(512), 4), b(limiter, turns[1], read_of(512), 32),
      c(limiter, turns[2], read_of(kMebibyte), 1024);
  serve({&a, &b, &c}, kStart + seconds(4), [](const auto&...) {});
  EXPECT_NEAR(double(a.passed), double(b.passed), double(b.passed) * 0.05);
  EXPECT_NEAR(double(c.passed), double(b.passed), double(b.passed) * 0.05);
}

// Connections on more threads give a host no larger share.
TEST(Limiter, AHostWithManyLinesHasOneShare) {
  Limiter limiter({.rw_mbytes_per_sec = 200});
  HostTurns flood, honest;
  std::vector<std::unique_ptr<Line>> own;
  std::vector<Line*> lines;
  for (int i = 0; i < 8; ++i) {
    own.push_back(std::make_unique<Line>(limiter, flood, write_of(64 << 10), 128));
    lines.push_back(own.back().get());
  }
  Line alone(limiter, honest, write_of(4096), 32);
  lines.push_back(&alone);
  serve(lines, kStart + seconds(4), [](const auto&...) {});
  uint64_t flooded = 0;
  for (const auto& line : own) flooded += line->passed * (64 << 10);
  EXPECT_NEAR(double(alone.passed * 4096) / double(flooded), 1.0, 0.1);
}

TEST(Limiter, ALineThatLeavesReturnsItsTokens) {
  Limiter limiter({.rw_mbytes_per_sec = 1, .burst_ms = 1});
  HostTurns turns;
  {
    Line line(limiter, turns, write_of(kMebibyte), 1);
    line.reserve(kStart);
    EXPECT_EQ(turns.lines, 1u);
    EXPECT_FALSE(limiter.take(write_of(512), kStart)) << "the reservation goes first";
  }
  EXPECT_EQ(turns.lines, 0u);
  EXPECT_TRUE(limiter.take(write_of(512), kStart));
}

TEST(Limiter, ANewLimitVoidsReservations) {
  Limiter limiter({.rw_ios_per_sec = 1, .burst_ms = 1});
  HostTurns turns;
  Line line(limiter, turns, read_of(4096), 10);
  line.reserve(kStart);
  line.turn(kStart, false);
  EXPECT_GE(line.due, kStart + milliseconds(900));
  limiter.set({.rw_ios_per_sec = 1000});
  EXPECT_FALSE(line.credit.current());
  line.turn(kStart, false);
  EXPECT_LE(line.due, kStart);
  limiter.set({});
  EXPECT_GT(line.turn(kStart, false), 0u);
  EXPECT_EQ(line.waiting, 0u) << "no limit: all pass at once";
}

// On a machine that has just started, or in a simulation.
TEST(Limiter, TheFullBurstIsAvailableAtTimeZero) {
  Limiter limiter({.rw_ios_per_sec = 1000, .burst_ms = 60'000});
  uint64_t passed = 0;
  while (limiter.take(read_of(512), Nanoseconds(0))) ++passed;
  EXPECT_EQ(passed, 60'000u);
}

}  // namespace
}  // namespace mrpool::engine
