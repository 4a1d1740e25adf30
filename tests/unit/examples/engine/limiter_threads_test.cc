// One limit that several threads share: together they get no more than it gives, also while it
// changes. For ThreadSanitizer too.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "examples/engine/host_limits.h"
#include "examples/engine/limiter.h"

namespace mrpool::engine {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;

constexpr Nanoseconds kStart = seconds(1000);
constexpr int kThreads = 4;
constexpr IoCost kRead{.commands = 1, .read = 4096, .written = 0};

// Returns the sum of what the threads return.
template <typename Run>
uint64_t on_threads(const Run& run) {
  std::atomic<uint64_t> all{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] { all += run(t); });
  }
  for (std::thread& thread : threads) thread.join();
  return all;
}

TEST(LimiterThreads, TakeNoMoreThanTheLimit) {
  Limiter limiter({.rw_ios_per_sec = 10'000, .burst_ms = 10});
  constexpr Nanoseconds kTime = milliseconds(500);
  // Each has a clock of its own.
  const uint64_t all = on_threads([&](int) {
    uint64_t passed = 0;
    for (Nanoseconds at{}; at < kTime; at += nanoseconds(20'000)) {
      while (limiter.take(kRead, kStart + at)) ++passed;
    }
    return passed;
  });
  EXPECT_LE(all, 5100u);
  EXPECT_GE(all, 4900u);
}

// Lines of two hosts on several threads. Each collects its reservation at the time of it.
TEST(LimiterThreads, WaitForTheirTurns) {
  Limiter limiter({.rw_ios_per_sec = 10'000, .burst_ms = 10});
  HostTurns hosts[2];
  const Nanoseconds end = kStart + milliseconds(500);
  const uint64_t all = on_threads([&](int t) {
    Credit credit(limiter, hosts[t % 2]);
    const IoCost waiting{.commands = 32, .read = 32 * 4096, .written = 0};
    uint64_t passed = 0;
    while (credit.reserve(waiting, kStart) <= end) {
      credit.collect();
      while (credit.pay(kRead)) ++passed;
    }
    return passed;
  });
  EXPECT_LE(all, 5100u);
  EXPECT_GE(all, 5000u);
  EXPECT_EQ(hosts[0].lines, 0u);
  EXPECT_EQ(hosts[1].lines, 0u);
  // What nobody waits for any more was given back.
  EXPECT_TRUE(limiter.take(kRead, end + milliseconds(1)));
}

// A limit changes while hosts use it, come and go.
TEST(LimiterThreads, ChangeWhileTheyWait) {
  HostLimits limits;
  std::atomic<bool> over{false};
  std::thread changes([&] {
    for (uint64_t i = 0; i < 2000; ++i) {
      limits.set({{"*", {.rw_ios_per_sec = i % 3 * 1000, .w_mbytes_per_sec = i % 2}}});
    }
    limits.set({});
    over = true;
  });
  on_threads([&](int t) {
    const std::string name = t % 2 == 0 ? "even" : "odd";
    Nanoseconds now = kStart;
    while (!over) {
      const auto limiter = limits.limiter(name);
      const auto turns = limiter->turns_of(name);
      Credit credit(*limiter, *turns);
      for (int i = 0; i < 20; ++i) {
        now += nanoseconds(1000);
        if (limiter->take(kRead, now)) continue;
        (void)credit.reserve(kRead, now);
        if (credit.current()) credit.collect();
        (void)credit.pay(kRead);
      }
    }
    return uint64_t{0};
  });
  changes.join();
  const auto limiter = limits.limiter("even");
  EXPECT_FALSE(limiter->limits_something());
  EXPECT_EQ(limiter->turns_of("even")->lines, 0u);
}

}  // namespace
}  // namespace mrpool::engine
