// Pools by key under many threads that open, lease, wait, drop and close, while one ages. No MR is
// leased twice, the budget is kept, every waiter is served, and no MR remains at the end.
//
// Environment: POOL_STRESS_SECONDS (default 0.5), POOL_STRESS_SEED (default random, printed).
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <random>
#include <thread>
#include <vector>

#include "mrpool/keyed_pools.h"
#include "tests/unit/pool/fake_device.h"

namespace mrpool {
namespace {

using testing::FakePd;
using testing::FakeReactor;
using Clock = std::chrono::steady_clock;

constexpr uint32_t kBudget = 12;
constexpr uint32_t kThreads = 4;
constexpr uint32_t kHeld = 3;  // leases of a thread at once
constexpr MrPoolKey kKeys[] = {{.access = Access::kLocalWrite},
                               {.access = Access::kRemoteRead},
                               {.access = Access::kLocalWrite, .type = MrPoolType::kSgGaps}};
constexpr auto kPatience = std::chrono::seconds(60);

struct Waiting {
  explicit Waiting(Reactor& home) : waiter(*this, home) {}
  void ready(MrPool::Lease granted) { lease = std::move(granted); }
  MrPool::Lease lease;
  Bound<MrPool::Waiter, &Waiting::ready> waiter;
};

class Worker {
 public:
  Worker(FakePd& pd, KeyedPools& pools, uint64_t seed) : pd_(pd), pools_(pools), rng_(seed) {}

  void run(const std::atomic<bool>& stop) {
    while (!stop.load(std::memory_order_relaxed)) {
      auto pool = pools_.open(kKeys[rng_() % std::size(kKeys)]);
      if (!pool.ok()) continue;  // the budget is out on leases
      for (uint64_t rounds = rng_() % 50; rounds > 0; --rounds) use(*pool);
    }
  }

 private:
  void use(KeyedPools::Pool& pool) {
    std::vector<MrPool::Lease> leases;
    for (uint64_t count = 1 + rng_() % kHeld; count > 0; --count) {
      // Who holds one does not wait for another: two such could wait for each other.
      MrPool::Lease lease = leases.empty() && rng_() % 2 ? wait_for(pool) : pool->get();
      if (!lease) break;
      mark(lease);
      leases.push_back(std::move(lease));
    }
    ASSERT_LE(pd_.live_mrs.load(), int(kBudget));
    for (MrPool::Lease& lease : leases) {
      check(lease);
      end(std::move(lease));
    }
  }

  MrPool::Lease wait_for(KeyedPools::Pool& pool) {
    Waiting waiting(reactor_);
    pool->get(waiting.waiter);
    if (rng_() % 8 == 0 && pool->cancel(waiting.waiter)) return {};
    const auto limit = Clock::now() + kPatience;
    while (!waiting.lease && Clock::now() < limit) {
      reactor_.poll();
      std::this_thread::yield();
    }
    EXPECT_TRUE(waiting.lease) << "nobody served the waiter";
    if (!waiting.lease) pool->cancel(waiting.waiter);
    return std::move(waiting.lease);
  }

  // Plain writes on purpose: TSan reports an MR that two threads have.
  void mark(MrPool::Lease& lease) {
    const Sge sge{reinterpret_cast<std::byte*>(this), 64, {}};
    ASSERT_EQ(lease.map({&sge, 1}), 1u);
  }
  void check(const MrPool::Lease& lease) {
    ASSERT_EQ(lease.mr().sge().addr, reinterpret_cast<std::byte*>(this)) << "leased twice";
  }

  void end(MrPool::Lease lease) {
    WorkRequest reg;
    if (rng_() % 4 == 0) {  // its key stays live: to be repaired, or dropped
      ASSERT_EQ(lease.prepare_register(Access::kNone, reg), PostStatus::kOk);
    }
    if (rng_() % 8 == 0) pools_.drop(std::move(lease));
  }

  FakePd& pd_;
  KeyedPools& pools_;
  std::mt19937_64 rng_;
  FakeReactor reactor_;
};

TEST(KeyedPoolsStress, PoolsOpenAndCloseUnderManyThreads) {
  const char* text = std::getenv("POOL_STRESS_SEED");
  const uint64_t seed = text != nullptr ? std::strtoull(text, nullptr, 0) : std::random_device{}();
  std::fprintf(stderr, "POOL_STRESS_SEED=%llu\n", (unsigned long long)seed);
  const char* seconds = std::getenv("POOL_STRESS_SECONDS");
  const std::chrono::duration<double> length(seconds != nullptr ? std::atof(seconds) : 0.5);

  FakePd pd;
  auto pools = *KeyedPools::create(pd, {.budget = kBudget, .batch = 3});
  std::atomic<bool> stop = false;
  std::vector<std::thread> threads;
  for (uint32_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] { Worker(pd, *pools, seed + t).run(stop); });
  }
  const auto end = Clock::now() + length;
  uint64_t aged = 0;
  while (Clock::now() < end) {
    aged += pools->age();
    ASSERT_LE(pools->size(), kBudget);
    for (const KeyedPoolStats& stats : pools->stats()) ASSERT_LE(stats.mrs.size, kBudget);
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  for (const KeyedPoolStats& stats : pools->stats()) EXPECT_EQ(stats.mrs.in_use, 0u);
  aged += pools->age();
  EXPECT_GT(aged, 0u);
  EXPECT_EQ(pools->size(), 0u);
  EXPECT_TRUE(pools->stats().empty());
  EXPECT_EQ(pd.live_mrs.load(), 0);
}

}  // namespace
}  // namespace mrpool
