// Pools under transfers on the wire: one that is too small, and one that grows by demand.
#include <algorithm>
#include <deque>

#include "mrpool/callback.h"
#include "mrpool/keyed_pools.h"
#include "mrpool/rw.h"
#include "tests/conformance/fixture.h"

namespace mrpool::conformance {
namespace {

constexpr uint32_t kReads = 64;
constexpr uint32_t kBytes = 4096;  // of each
constexpr uint32_t kBudget = 16;

struct Read : RwOperation {
  Read() : RwOperation(to_method<&Read::finished>) {}
  void finished(WcStatus result) {
    ++times;
    status = result;
  }
  int times = 0;
  WcStatus status{};
};

class Pools : public ConformanceTest {
 protected:
  void SetUp() override {
    limits = {.max_operations = kReads,
              .max_transfer = kBytes,
              .max_segments = 1,
              .force_mr = caps().registration != mrpool::Registration::kMemoryWindow};
    needs = rw_queue_needs(caps(), limits);
    connect({}, {.max_send_wr = needs.send_wr, .max_send_sge = needs.send_sge});
  }

  // The server reads all of the client's memory, every READ with an MR of `pool` where the device
  // has MRs for that.
  void read_all(MrPool* pool) {
    Region source(*client.pd, kReads * kBytes, Access::kRemoteRead);
    source.fill(3);
    Region sink(*server.pd, kReads * kBytes,
                needs.sink_access | base_access(caps(), needs.pool_access));
    auto context = RwContext::create(*server.qp, pool, limits);
    ASSERT_TRUE(context.ok()) << context.status();
    std::deque<Read> reads(kReads);
    for (uint32_t i = 0; i < kReads; ++i) {
      const Sge sge = sink.sge(i * kBytes, kBytes);
      ASSERT_EQ((*context)->start(reads[i], RwDirection::kRead, {&sge, 1},
                                  {source.remote(i * kBytes), kBytes, source.rkey()}),
                PostStatus::kOk);
    }
    ASSERT_TRUE(until([&] { return (*context)->in_flight() + (*context)->waiting() == 0; }));
    for (const Read& read : reads) {
      EXPECT_EQ(read.times, 1);
      EXPECT_EQ(read.status, WcStatus::kSuccess);
    }
    EXPECT_FALSE(sink.differs(3));
    EXPECT_TRUE(server.qp->connected());
    EXPECT_FALSE(client.disconnected);
  }

  RwLimits limits;
  RwQueueNeeds needs;
};

class PoolExhaustion : public Pools {};

TEST_F(PoolExhaustion, FailsNoTransferAndDropsNoConnection) {
  std::unique_ptr<MrPool> pool;
  if (needs.pool_mrs > 0) {
    auto made =
        MrPool::create(*server.pd, {.count = 1, .max_segments = 1, .access = needs.pool_access});
    ASSERT_TRUE(made.ok()) << made.status();
    pool = *std::move(made);
  }
  read_all(pool.get());
  if (pool != nullptr) {
    EXPECT_EQ(pool->stats().gets, kReads);
    EXPECT_GT(pool->stats().waits, 0u);
  }
}

class PoolsByKey : public Pools {};

TEST_F(PoolsByKey, GrowWithTheTransfersAndAgeAfterThem) {
  auto pools = KeyedPools::create(*server.pd, {.budget = kBudget, .batch = 4});
  ASSERT_TRUE(pools.ok()) << pools.status();
  auto pool = (*pools)->open({.access = needs.pool_access, .max_segments = 1});
  ASSERT_TRUE(pool.ok()) << pool.status();
  read_all(pool->get());
  if (needs.pool_mrs > 0) {
    EXPECT_GT((*pools)->size(), 1u);
  }
  EXPECT_LE((*pools)->size(), kBudget);
  (*pools)->age();  // they were used
  (*pools)->age();
  EXPECT_EQ((*pools)->size(), 1u);  // the reserve
  read_all(pool->get());
}

// The MR goes with its key, live as it is, and the peer can do nothing with it any more.
TEST_F(PoolsByKey, ADroppedMrsKeyIsDead) {
  MRPOOL_NEEDS(caps().registration != mrpool::Registration::kPreRegistered);
  constexpr Access kRights = Access::kLocalWrite | Access::kRemoteWrite;
  auto pools = *KeyedPools::create(*server.pd, {.budget = kBudget});
  auto pool = *pools->open({.access = kRights, .max_segments = 1});
  Region target(*server.pd, kBytes, base_access(caps(), kRights));
  Region source(*client.pd, kBytes, Access::kNone);
  source.fill(1);
  target.fill(2);

  MrPool::Lease lease = pool->get();
  const Sge sge = target.sge();
  ASSERT_EQ(lease.map({&sge, 1}), 1u);
  WorkRequest registration;
  ASSERT_EQ(lease.prepare_register(kRights, registration), PostStatus::kOk);
  registration.signalled = true;
  Op& registered = server.post(registration);
  ASSERT_TRUE(finish(registered) && registered.ok());
  const RemoteBuffer lent{lease.mr().remote_addr(), kBytes, lease.mr().rkey()};

  pools->drop(std::move(lease));
  client.write(source.sge(), lent.addr, lent.rkey);
  EXPECT_TRUE(both_ended());
  EXPECT_FALSE(target.differs(2));
  EXPECT_EQ(pools->stats().front().dropped, 1u);
  EXPECT_TRUE(pool->get());  // another has taken its place
  client.qp.reset();
  server.qp.reset();
}

}  // namespace
}  // namespace mrpool::conformance
