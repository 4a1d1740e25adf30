#include "mrpool/keyed_pools.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <vector>

#include "mrpool/rw.h"
#include "tests/unit/pool/fake_device.h"

namespace mrpool {
namespace {

using testing::fake_caps;
using testing::FakePd;
using testing::FakeReactor;
using ::testing::HasSubstr;

constexpr MrPoolKey kLocal{.access = Access::kLocalWrite, .max_segments = 16};
constexpr MrPoolKey kReadable{.access = Access::kRemoteRead, .max_segments = 16};
constexpr MrPoolKey kWritable{.access = Access::kLocalWrite | Access::kRemoteWrite,
                              .max_segments = 16};

class KeyedPoolsTest : public ::testing::Test {
 protected:
  void set_up(const KeyedPoolsOptions& options) {
    auto made = KeyedPools::create(pd, options);
    ASSERT_TRUE(made.ok()) << made.status();
    pools = *std::move(made);
  }
  void TearDown() override {
    pools.reset();
    EXPECT_EQ(pd.live_mrs.load(), 0);
  }
  KeyedPools::Pool open(const MrPoolKey& key) {
    auto pool = pools->open(key);
    EXPECT_TRUE(pool.ok()) << pool.status();
    return *std::move(pool);
  }
  static std::vector<MrPool::Lease> lease(KeyedPools::Pool& pool, size_t count) {
    std::vector<MrPool::Lease> leases;
    while (leases.size() < count) {
      leases.push_back(pool->get());
      if (!leases.back()) {
        leases.pop_back();
        break;
      }
    }
    return leases;
  }
  KeyedPoolStats stats_of(const MrPoolKey& key) const {
    for (const KeyedPoolStats& stats : pools->stats()) {
      if (stats.key == key) return stats;
    }
    return {};
  }

  FakePd pd;
  std::unique_ptr<KeyedPools> pools;
};

TEST_F(KeyedPoolsTest, GrowsByDemandWithinTheBudget) {
  set_up({.budget = 20, .batch = 8});
  KeyedPools::Pool pool = open(kLocal);
  EXPECT_EQ(pools->size(), 1u);  // the reserve
  auto leases = lease(pool, 100);
  EXPECT_EQ(leases.size(), 20u);
  EXPECT_EQ(pd.live_mrs.load(), 20);
  const MrPoolStats stats = pool->stats();
  EXPECT_EQ(stats.size, 20u);
  EXPECT_EQ(stats.in_use, 20u);
  EXPECT_EQ(stats.high_water, 20u);
  EXPECT_EQ(stats.gets, 20u);
  EXPECT_EQ(stats.exhaustions, 1u);
  leases.clear();
  EXPECT_EQ(pool->stats().in_use, 0u);
  EXPECT_EQ(pool->stats().gets, 20u);
}

TEST_F(KeyedPoolsTest, OneKeyIsOnePool) {
  set_up({.budget = 20});
  KeyedPools::Pool a = open(kLocal);
  KeyedPools::Pool b = open({.access = Access::kLocalWrite, .max_segments = 9});  // rounded up
  KeyedPools::Pool c = open(kReadable);
  KeyedPools::Pool d =
      open({.access = Access::kLocalWrite, .max_segments = 16, .type = MrPoolType::kSgGaps});
  EXPECT_EQ(a.get(), b.get());
  EXPECT_NE(a.get(), c.get());
  EXPECT_NE(a.get(), d.get());
  EXPECT_EQ(a->options().access, Access::kLocalWrite);
  EXPECT_EQ(c->options().access, Access::kRemoteRead);
  EXPECT_EQ(d->options().type, MrPoolType::kSgGaps);
  EXPECT_EQ(stats_of(kLocal).open, 2u);
  EXPECT_EQ(pools->stats().size(), 3u);
}

TEST_F(KeyedPoolsTest, TheCapacityForBlocksIsPartOfTheKey) {
  DeviceCaps caps = fake_caps();
  caps.max_integrity_blocks = 64;
  FakePd with_integrity(caps);
  const auto made = *KeyedPools::create(with_integrity, {.budget = 8});
  MrPoolKey key{.max_segments = 4, .type = MrPoolType::kIntegrity, .integrity = {.blocks = 8}};
  const auto a = *made->open(key);
  const auto b = *made->open(key);
  key.integrity.blocks = 9;
  const auto c = *made->open(key);
  EXPECT_EQ(a.get(), b.get());
  EXPECT_NE(a.get(), c.get());
  EXPECT_EQ(c->options().integrity.blocks, 9u);
  key.integrity.blocks = 65;
  EXPECT_EQ(made->open(key).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(KeyedPoolsTest, FreeMrsOfOtherKeysMakeRoom) {
  set_up({.budget = 16, .reserve = 2, .batch = 4});
  KeyedPools::Pool a = open(kLocal);
  lease(a, 16).clear();
  EXPECT_EQ(pools->size(), 16u);
  KeyedPools::Pool b = open(kReadable);
  auto leases = lease(b, 100);
  EXPECT_EQ(leases.size(), 14u);  // all but the reserve of the other
  EXPECT_EQ(stats_of(kLocal).yielded, 14u);
  EXPECT_EQ(stats_of(kLocal).mrs.size, 2u);
  EXPECT_EQ(lease(a, 100).size(), 2u);
  EXPECT_EQ(pd.live_mrs.load(), 16);
}

TEST_F(KeyedPoolsTest, LeasedMrsAreNeverTaken) {
  set_up({.budget = 8, .batch = 4});
  KeyedPools::Pool a = open(kLocal);
  const auto leases = lease(a, 8);
  const auto refused = pools->open(kReadable);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("budget of 8"));
  EXPECT_EQ(a->stats().in_use, 8u);
}

TEST_F(KeyedPoolsTest, UnusedMrsAreReleasedAfterAPeriod) {
  set_up({.budget = 64, .reserve = 2, .batch = 8});
  KeyedPools::Pool pool = open(kLocal);
  lease(pool, 32).clear();
  EXPECT_EQ(pools->age(), 0u);  // all were used, or are new
  lease(pool, 5).clear();
  const size_t gone = pools->age();
  EXPECT_EQ(gone, 34u - 5u);  // made in batches of eight
  EXPECT_EQ(uint32_t(pd.live_mrs.load()), pools->size());
  EXPECT_EQ(stats_of(kLocal).aged, gone);
  pools->age();
  EXPECT_EQ(pools->age(), 0u);
  EXPECT_EQ(pools->size(), 2u);  // the reserve stays
  EXPECT_EQ(pool->stats().high_water, 32u);
}

TEST_F(KeyedPoolsTest, NewMrsHaveAWholePeriod) {
  set_up({.budget = 64, .batch = 16});
  KeyedPools::Pool pool = open(kLocal);
  pools->age();
  const auto leases = lease(pool, 2);
  EXPECT_EQ(pools->size(), 17u);
  EXPECT_EQ(pools->age(), 0u);
  EXPECT_EQ(pools->age(), 15u);
  EXPECT_EQ(pools->size(), 2u);
}

TEST_F(KeyedPoolsTest, AnUnusedPoolIsRemoved) {
  set_up({.budget = 64});
  KeyedPools::Pool pool = open(kLocal);
  MrPool::Lease out = pool->get();
  pool.close();
  pools->age();
  EXPECT_EQ(pools->stats().size(), 1u);  // it waits for its lease
  EXPECT_EQ(pools->size(), 1u);
  out.reset();
  EXPECT_EQ(pools->age(), 1u);
  EXPECT_TRUE(pools->stats().empty());
  EXPECT_EQ(pd.live_mrs.load(), 0);
  pool = open(kLocal);
  EXPECT_TRUE(pool->get());
}

TEST_F(KeyedPoolsTest, ASuspectMrIsDestroyedAndReplaced) {
  set_up({.budget = 4, .batch = 1});
  KeyedPools::Pool pool = open(kLocal);
  MrPool::Lease lease = pool->get();
  const Rkey suspect = lease.mr().rkey();
  std::array<std::byte, 8> memory{};
  const Sge sge{memory.data(), memory.size(), {}};
  ASSERT_EQ(lease.map({&sge, 1}), 1u);
  WorkRequest reg;
  ASSERT_EQ(lease.prepare_register(Access::kLocalWrite, reg), PostStatus::kOk);
  pools->drop(std::move(lease));
  EXPECT_FALSE(lease);  // NOLINT(bugprone-use-after-move)
  EXPECT_EQ(stats_of(kLocal).dropped, 1u);
  EXPECT_EQ(stats_of(kLocal).mrs.in_repair, 0u);
  EXPECT_EQ(pd.live_mrs.load(), 1);  // the reserve
  EXPECT_EQ(pool->stats().gets, 1u);
  MrPool::Lease next = pool->get();
  ASSERT_TRUE(next);
  EXPECT_NE(next.mr().rkey(), suspect);
  pools->drop({});
}

struct Waiting {
  explicit Waiting(Reactor& home) : waiter(*this, home) {}
  void ready(MrPool::Lease granted) { lease = std::move(granted); }
  MrPool::Lease lease;
  Bound<MrPool::Waiter, &Waiting::ready> waiter;
};

TEST_F(KeyedPoolsTest, WaitersAreServedByGrowthAndInOrder) {
  set_up({.budget = 3, .batch = 2});
  FakeReactor reactor;
  KeyedPools::Pool pool = open(kLocal);
  Waiting waiting[5] = {Waiting(reactor), Waiting(reactor), Waiting(reactor), Waiting(reactor),
                        Waiting(reactor)};
  for (Waiting& each : waiting) pool->get(each.waiter);
  reactor.poll();
  EXPECT_TRUE(waiting[0].lease && waiting[1].lease && waiting[2].lease);
  EXPECT_FALSE(waiting[3].lease || waiting[4].lease);
  // A suspect MR is replaced for who waits.
  pools->drop(std::move(waiting[1].lease));
  pools->age();
  reactor.poll();
  EXPECT_TRUE(waiting[3].lease);
  waiting[0].lease.reset();
  reactor.poll();
  EXPECT_TRUE(waiting[4].lease);
}

// Whatever other keys do, who waits gets an MR when one of his own key comes back.
TEST_F(KeyedPoolsTest, AWaiterNeedsNoMrsOfOthers) {
  set_up({.budget = 4, .batch = 4});
  FakeReactor reactor;
  KeyedPools::Pool b = open(kReadable);
  KeyedPools::Pool a = open(kLocal);
  const auto others = lease(b, 100);
  EXPECT_EQ(others.size(), 3u);
  MrPool::Lease mine = a->get();
  ASSERT_TRUE(mine);
  EXPECT_FALSE(a->get());
  Waiting waiting(reactor);
  a->get(waiting.waiter);
  reactor.poll();
  EXPECT_FALSE(waiting.lease);
  mine.reset();
  reactor.poll();
  EXPECT_TRUE(waiting.lease);
}

TEST_F(KeyedPoolsTest, MrsThatAgeElsewhereServeWaiters) {
  set_up({.budget = 4, .batch = 4});
  FakeReactor reactor;
  KeyedPools::Pool b = open(kReadable);
  KeyedPools::Pool a = open(kLocal);
  auto others = lease(b, 3);
  MrPool::Lease mine = a->get();
  Waiting waiting(reactor);
  a->get(waiting.waiter);
  others.clear();
  pools->age();
  reactor.poll();
  EXPECT_TRUE(waiting.lease);
}

TEST_F(KeyedPoolsTest, ADeviceThatRefusesLeavesWhatThereIs) {
  pd.fail_after = 5;
  set_up({.budget = 64, .batch = 8});
  KeyedPools::Pool pool = open(kLocal);
  EXPECT_EQ(lease(pool, 100).size(), 5u);
  const auto refused = pools->open(kReadable);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("scripted"));
  EXPECT_EQ(lease(pool, 100).size(), 5u);
  pools->age();
  EXPECT_EQ(pools->stats().size(), 1u);  // the refused key has gone
}

TEST_F(KeyedPoolsTest, CarriesAnRwContext) {
  DeviceCaps caps = fake_caps();
  caps.iwarp = caps.read_sink_needs_remote_write = true;
  FakePd iwarp(caps);
  auto keyed = *KeyedPools::create(iwarp, {.budget = 8, .batch = 2});
  FakeReactor reactor;
  const RwLimits limits{.max_operations = 8};
  const RwQueueNeeds needs = rw_queue_needs(caps, limits);
  auto pool = *keyed->open({.access = needs.pool_access, .max_segments = needs.pool_segments});
  testing::FakeQp qp(iwarp, reactor, needs.send_wr, 16);
  auto context = *RwContext::create(qp, pool.get(), limits);
  std::byte memory[64];
  const Sge sge{memory, sizeof memory, Lkey{1}};
  static int done;
  done = 0;
  const auto count = [](RwOperation&, WcStatus status) { done += status == WcStatus::kSuccess; };
  RwOperation operations[8] = {RwOperation(count), RwOperation(count), RwOperation(count),
                               RwOperation(count), RwOperation(count), RwOperation(count),
                               RwOperation(count), RwOperation(count)};
  for (RwOperation& op : operations) {
    ASSERT_EQ(context->start(op, RwDirection::kRead, {&sge, 1}, {RemoteAddr{0}, 64, Rkey{1}}),
              PostStatus::kOk);
  }
  EXPECT_EQ(keyed->size(), 8u);
  EXPECT_EQ(context->waiting(), 0u);
  qp.complete_all();
  EXPECT_EQ(done, 8);
  context.reset();
  pool.close();
}

TEST_F(KeyedPoolsTest, AgesByItself) {
  set_up({.budget = 64, .batch = 8});
  FakeReactor reactor;
  KeyedPools::Pool pool = open(kLocal);
  lease(pool, 9).clear();
  PoolAgeing ageing(*pools, reactor);
  for (int period = 0; period < 3; ++period) reactor.poll();
  EXPECT_EQ(pools->size(), 1u);
}

TEST_F(KeyedPoolsTest, RefusesNonsense) {
  for (const KeyedPoolsOptions& options :
       {KeyedPoolsOptions{}, KeyedPoolsOptions{.budget = 4, .reserve = 5},
        KeyedPoolsOptions{.budget = 4, .reserve = 0}, KeyedPoolsOptions{.budget = 4, .batch = 0}}) {
    EXPECT_EQ(KeyedPools::create(pd, options).status().code(), absl::StatusCode::kInvalidArgument);
  }
  set_up({.budget = 4});
  for (const uint32_t segments : {0u, 257u, UINT32_MAX}) {
    EXPECT_EQ(pools->open({.max_segments = segments}).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
  EXPECT_EQ(pools->open({.access = Access::kRemoteWrite}).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(pools->stats().empty());
}

TEST(KeyedPoolsDeathTest, MisuseIsNamed) {
  FakePd pd;
  EXPECT_DEATH(
      {
        auto pools = *KeyedPools::create(pd, {.budget = 4});
        auto pool = *pools->open(kWritable);
        pools.reset();
      },
      "has 1 Pools open");
  EXPECT_DEATH(
      {
        auto pools = *KeyedPools::create(pd, {.budget = 4});
        auto other = *MrPool::create(pd, {.count = 1});
        pools->drop(other->get());
      },
      "belongs to others");
}

}  // namespace
}  // namespace mrpool
