#include "mrpool/mr_pool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "mrpool/callback.h"
#include "tests/unit/pool/fake_device.h"

namespace mrpool {
namespace {

using testing::fake_caps;
using testing::FakePd;
using testing::FakeReactor;
using ::testing::HasSubstr;

std::unique_ptr<MrPool> make_pool(Pd& pd, uint32_t count, uint32_t cached_threads = 32) {
  MrPoolOptions options;
  options.count = count;
  options.access = Access::kLocalWrite | Access::kRemoteWrite;
  options.cached_threads = cached_threads;
  auto pool = MrPool::create(pd, options);
  EXPECT_TRUE(pool.ok()) << pool.status();
  return *std::move(pool);
}

std::byte g_memory[4096];
const Sge kSegment[] = {{g_memory, sizeof g_memory, Lkey{1}}};

// Takes a lease to the registered state.
MrPool::Lease registered(MrPool& pool) {
  MrPool::Lease lease = pool.get();
  EXPECT_TRUE(lease);
  EXPECT_EQ(lease.map(kSegment), 1u);
  WorkRequest wr;
  EXPECT_EQ(lease.prepare_register(Access::kLocalWrite, wr), PostStatus::kOk);
  return lease;
}

// Every size, with caches and without.
class MrPoolSizes : public ::testing::TestWithParam<std::tuple<uint32_t, uint32_t>> {};

TEST_P(MrPoolSizes, GivesEveryEntryOnceAndNoMore) {
  const auto [count, cached] = GetParam();
  FakePd pd;
  auto pool = make_pool(pd, count, cached);
  for (int round = 0; round < 3; ++round) {
    std::vector<MrPool::Lease> leases;
    std::vector<const FastMr*> seen;
    for (uint32_t i = 0; i < count; ++i) {
      leases.push_back(pool->get());
      ASSERT_TRUE(leases.back()) << "entry " << i << " of " << count;
      seen.push_back(&leases.back().mr());
    }
    EXPECT_FALSE(pool->get());
    EXPECT_EQ(pool->stats().in_use, count);
    std::ranges::sort(seen);
    EXPECT_EQ(std::ranges::adjacent_find(seen), seen.end());
  }
  const MrPoolStats stats = pool->stats();
  EXPECT_EQ(stats.in_use, 0u);
  EXPECT_EQ(stats.high_water, count);
  EXPECT_EQ(stats.gets, 3u * count);
  EXPECT_EQ(stats.exhaustions, 3u);
}

INSTANTIATE_TEST_SUITE_P(All, MrPoolSizes,
                         ::testing::Combine(::testing::Values(1, 2, 3, 8, 33, 64, 256, 1000),
                                            ::testing::Values(0, 1, 32)));

TEST(MrPool, ReusesTheHotEntry) {
  FakePd pd;
  auto pool = make_pool(pd, 64);
  const FastMr* first = &pool->get().mr();
  for (int i = 0; i < 100; ++i) EXPECT_EQ(&pool->get().mr(), first);
  EXPECT_EQ(pool->stats().high_water, 1u);
  EXPECT_EQ(pool->stats().gets, 101u);
}

TEST(MrPool, HighWaterIsThePeakOfOneThread) {
  FakePd pd;
  auto pool = make_pool(pd, 256);
  for (uint32_t peak : {1u, 5u, 3u, 40u, 8u}) {
    std::vector<MrPool::Lease> leases;
    for (uint32_t i = 0; i < peak; ++i) leases.push_back(pool->get());
  }
  EXPECT_EQ(pool->stats().high_water, 40u);
}

TEST(MrPool, EntriesInAnotherThreadsCacheAreReachable) {
  for (uint32_t count : {1u, 2u, 7u, 256u}) {
    FakePd pd;
    auto pool = make_pool(pd, count);
    // The other thread owns them all, in its cache, and stays alive.
    std::atomic<int> stage = 0;
    std::thread other([&] {
      std::vector<MrPool::Lease> leases;
      for (uint32_t i = 0; i < count; ++i) leases.push_back(pool->get());
      leases.clear();
      stage.store(1);
      stage.notify_all();
      stage.wait(1);
    });
    stage.wait(0);
    std::vector<MrPool::Lease> leases;
    for (uint32_t i = 0; i < count; ++i) {
      leases.push_back(pool->get());
      ASSERT_TRUE(leases.back()) << i << " of " << count;
    }
    EXPECT_FALSE(pool->get());
    leases.clear();
    stage.store(2);
    stage.notify_all();
    other.join();
    EXPECT_EQ(pool->stats().in_use, 0u);
  }
}

TEST(MrPool, EntriesOfEndedThreadsAreReachable) {
  FakePd pd;
  auto pool = make_pool(pd, 100, /*cached_threads=*/4);
  for (int t = 0; t < 50; ++t) {  // far more threads than slots, one after the other
    std::thread([&] {
      std::vector<MrPool::Lease> leases;
      for (int i = 0; i < 60; ++i) leases.push_back(pool->get());
    }).join();
  }
  std::vector<MrPool::Lease> leases;
  for (int i = 0; i < 100; ++i) {
    leases.push_back(pool->get());
    ASSERT_TRUE(leases.back()) << i;
  }
}

TEST(MrPool, MorePoolsThanSlotsWork) {
  FakePd pd;
  std::vector<std::unique_ptr<MrPool>> pools;
  for (uint32_t i = 0; i < internal::kSlotLists + 3; ++i) pools.push_back(make_pool(pd, 2));
  for (auto& pool : pools) {
    auto a = pool->get();
    auto b = pool->get();
    EXPECT_TRUE(a && b);
    EXPECT_FALSE(pool->get());
  }
  // A later pool takes over a number whose slot this thread had attached.
  pools.clear();
  auto pool = make_pool(pd, 1);
  EXPECT_TRUE(pool->get());
}

// A thread finds the slot it used last without a look-up; that must never be another pool's.
TEST(MrPool, PoolsInTurnKeepTheirEntriesApart) {
  FakePd pd;
  auto kept = make_pool(pd, 2);
  for (int round = 0; round < 20; ++round) {
    auto passing = make_pool(pd, 1);  // often where the last one was, with its number
    MrPool::Lease a = passing->get();
    EXPECT_TRUE(a);
    EXPECT_FALSE(passing->get());
    MrPool::Lease b = kept->get();
    MrPool::Lease c = kept->get();
    EXPECT_TRUE(b && c);
    EXPECT_FALSE(kept->get());
    a.reset();  // in the turn of the other pool
    b.reset();
    EXPECT_EQ(passing->stats().in_use, 0u);
    EXPECT_EQ(kept->stats().in_use, 1u);
  }
  EXPECT_EQ(kept->stats().in_use, 0u);
}

// ------------------------------------------------------------------------------- creation

TEST(MrPoolCreate, FailureHalfWayReleasesAll) {
  FakePd pd;
  pd.fail_after = 5;
  const auto pool = MrPool::create(pd, {.count = 10});
  EXPECT_EQ(pool.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(pool.status().message()), HasSubstr("MR 6 of 10"));
  EXPECT_EQ(pd.live_mrs, 0);
}

TEST(MrPoolCreate, RefusesWhatTheDeviceCannot) {
  DeviceCaps caps = fake_caps();
  caps.sg_gaps = false;
  caps.registration = Registration::kMemoryWindow;
  FakePd pd(caps);
  const auto code = [&](const MrPoolOptions& options) {
    return MrPool::create(pd, options).status().code();
  };
  EXPECT_EQ(code({.count = 0}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code({.count = 1u << 24}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code({.count = 1, .max_segments = 1000}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code({.count = 1, .type = MrPoolType::kSgGaps}), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(code({.count = 1, .type = MrPoolType::kIntegrity, .integrity = {.blocks = 1}}),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(code({.count = 1, .access = Access::kRemoteWrite}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code({.count = 1, .at_least = Registration::kFastReg}),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(code({.count = 1, .at_least = Registration::kMemoryWindow}), absl::StatusCode::kOk);
  EXPECT_EQ(pd.live_mrs, 0);
}

// ------------------------------------------------------------------------------- life cycle

TEST(MrPoolLifeCycle, RegistersUnderANewKeyEachTime) {
  FakePd pd;
  auto pool = make_pool(pd, 1);
  Rkey last;
  for (int i = 0; i < 600; ++i) {
    MrPool::Lease lease = pool->get();
    ASSERT_EQ(lease.map(kSegment), 1u);
    WorkRequest wr;
    ASSERT_EQ(lease.prepare_register(Access::kLocalWrite | Access::kRemoteWrite, wr),
              PostStatus::kOk);
    EXPECT_EQ(wr.opcode, Opcode::kRegMr);
    EXPECT_FALSE(wr.signalled);
    EXPECT_EQ(wr.mr, &lease.mr());
    EXPECT_EQ(lease.state(), MrPool::State::kRegistered);
    EXPECT_NE(lease.mr().rkey(), last);
    last = lease.mr().rkey();
    lease.prepare_invalidate(wr);
    EXPECT_EQ(wr.opcode, Opcode::kLocalInv);
    EXPECT_EQ(wr.rkey, last);
    lease.invalidated();
    EXPECT_EQ(lease.state(), MrPool::State::kInvalidated);
  }
  EXPECT_EQ(pool->stats().in_repair, 0u);
}

TEST(MrPoolLifeCycle, CeilingHolds) {
  FakePd pd;
  auto pool = make_pool(pd, 1);
  MrPool::Lease lease = pool->get();
  lease.map(kSegment);
  WorkRequest wr;
  EXPECT_EQ(lease.prepare_register(Access::kRemoteRead, wr), PostStatus::kAccessDenied);
  EXPECT_EQ(lease.prepare_register(Access::kRemoteWrite, wr), PostStatus::kAccessDenied);
  EXPECT_EQ(lease.state(), MrPool::State::kLeased);
  EXPECT_EQ(pool->denied(Access::kRemoteRead), Access::kRemoteRead);
  EXPECT_EQ(pool->denied(Access::kRemoteWrite), Access::kRemoteWrite);
  EXPECT_EQ(pool->denied(Access::kLocalWrite), Access::kNone);
}

TEST(MrPoolLifeCycle, ReportsTheGrantedAccess) {
  FakePd pd;
  auto pool = MrPool::create(
      pd,
      {.count = 1, .max_segments = 1, .access = Access::kLocalWrite | Access::from_bits(1u << 21)});
  ASSERT_TRUE(pool.ok()) << pool.status();
  const Granted& granted = (*pool)->granted();
  EXPECT_EQ(granted.requested, (*pool)->options().access);
  EXPECT_TRUE(has(granted.effective, Access::kLocalWrite));
  EXPECT_EQ(granted.effective | granted.ignored | granted.unknown, granted.requested);
  EXPECT_NE(to_text((*pool)->stats()).find("size 1\n"), std::string::npos);
}

TEST(MrPoolLifeCycle, NotPostedRevertsTheRegistration) {
  FakePd pd;
  auto pool = make_pool(pd, 1);
  {
    MrPool::Lease lease = registered(*pool);
    lease.not_posted();
    EXPECT_EQ(lease.state(), MrPool::State::kLeased);
  }
  EXPECT_EQ(pool->stats().in_repair, 0u);
}

TEST(MrPoolLifeCycle, PreRegisteredDevicesHaveNothingToInvalidate) {
  DeviceCaps caps = fake_caps();
  caps.registration = Registration::kPreRegistered;
  FakePd pd(caps);
  auto pool = make_pool(pd, 1);
  {
    MrPool::Lease lease = pool->get();
    lease.map(kSegment);
    EXPECT_FALSE(lease.needs_registration());
    WorkRequest wr;
    EXPECT_EQ(lease.prepare_register(Access::kLocalWrite, wr), PostStatus::kOk);
    lease.invalidated();
  }
  EXPECT_EQ(pool->stats().in_repair, 0u);
  EXPECT_TRUE(pool->get());
}

TEST(MrPoolLifeCycle, LiveKeysAreRepairedAndThePoolHeals) {
  FakePd pd;
  auto pool = make_pool(pd, 4);
  {
    std::vector<MrPool::Lease> leases;
    for (int i = 0; i < 4; ++i) leases.push_back(registered(*pool));
  }
  EXPECT_EQ(pool->stats().in_repair, 4u);
  EXPECT_EQ(pool->stats().in_use, 0u);
  std::vector<MrPool::Lease> leases;
  for (int i = 0; i < 4; ++i) {  // the first get finds the pool empty and repairs all
    leases.push_back(pool->get());
    ASSERT_TRUE(leases.back());
    EXPECT_EQ(leases.back().state(), MrPool::State::kLeased);
  }
  EXPECT_EQ(pool->stats().repairs, 4u);
  EXPECT_EQ(pool->stats().in_repair, 0u);
  EXPECT_EQ(pool->stats().exhaustions, 0u);
  EXPECT_EQ(pool->stats().gets, 8u);
}

TEST(MrPoolLifeCycle, FailedRenewalIsTriedAgain) {
  FakePd pd;
  auto pool = make_pool(pd, 2);
  registered(*pool);
  pd.renewals_to_fail = 1;
  EXPECT_EQ(pool->repair(), 0u);
  EXPECT_EQ(pool->stats().in_repair, 1u);
  EXPECT_EQ(pool->repair(), 1u);
  EXPECT_EQ(pool->stats().in_repair, 0u);
}

TEST(MrPoolDeath, StepsOutOfOrderAbort) {
  FakePd pd;
  auto pool = make_pool(pd, 2);
  MrPool::Lease lease = registered(*pool);
  WorkRequest wr;
  EXPECT_DEATH(lease.map(kSegment), "mapping of MR");
  EXPECT_DEATH((void)lease.map(IntegrityFlow::kToWire, kSegment, {}, {}), "mapping of MR");
  EXPECT_DEATH((void)lease.check_integrity(), "integrity check of MR");
  EXPECT_DEATH((void)lease.prepare_register(Access::kNone, wr), "second registration");
  lease.invalidated();
  EXPECT_DEATH(lease.invalidated(), "invalidated");
  EXPECT_DEATH(lease.prepare_invalidate(wr), "invalidation of MR");
  EXPECT_DEATH(lease.not_posted(), "not_posted");
}

TEST(MrPoolDeath, RegistrationNeedsAMapOfTheSameLease) {
  FakePd pd;
  auto pool = make_pool(pd, 1);
  pool->get().map(kSegment);  // of a lease that ends without a registration
  WorkRequest wr;
  MrPool::Lease lease = pool->get();
  EXPECT_DEATH((void)lease.prepare_register(Access::kNone, wr), "registration without map");
  lease.map(kSegment);
  ASSERT_EQ(lease.prepare_register(Access::kNone, wr), PostStatus::kOk);
  lease.invalidated();
  ASSERT_EQ(lease.prepare_register(Access::kNone, wr), PostStatus::kOk);  // the same mapping
  lease.invalidated();
  lease.reset();
  lease = pool->get();
  EXPECT_DEATH((void)lease.prepare_register(Access::kNone, wr), "registration without map");
  EXPECT_EQ(lease.map({}), 0u);
  EXPECT_DEATH((void)lease.prepare_register(Access::kNone, wr), "registration without map");
}

TEST(MrPoolDeath, AnEmptyLeaseIsNamed) {
  MrPool::Lease lease;
  WorkRequest wr;
  const char* const message = "MrPool::Lease: the lease at 0x.* is empty";
  EXPECT_DEATH((void)lease.mr(), message);
  EXPECT_DEATH((void)lease.state(), message);
  EXPECT_DEATH(lease.map(kSegment), message);
  EXPECT_DEATH((void)lease.map(IntegrityFlow::kToWire, kSegment, {}, {}), message);
  EXPECT_DEATH((void)lease.check_integrity(), message);
  EXPECT_DEATH((void)lease.prepare_register(Access::kNone, wr), message);
  EXPECT_DEATH(lease.prepare_invalidate(wr), message);
  EXPECT_DEATH(lease.invalidated(), message);
  EXPECT_DEATH(lease.not_posted(), message);
}

TEST(MrPoolDeath, AWaiterThatGoesWhileItWaitsIsNamed) {
  FakePd pd;
  testing::FakeReactor reactor;
  auto pool = make_pool(pd, 1);
  MrPool::Lease lease = pool->get();
  const auto forget = [&] {
    MrPool::Waiter waiter(reactor, [](MrPool::Waiter&, MrPool::Lease) {});
    pool->get(waiter);
  };
  EXPECT_DEATH(forget(), "~Waiter: the MrPool::Waiter at 0x.* still waits");
}

TEST(MrPoolDeath, LeaksAreReportedWithTheirPlace) {
  const auto leak = [] {
    FakePd pd;
    auto pool = make_pool(pd, 2);
    static MrPool::Lease lease;
    lease = pool->get();
    pool.reset();
  };
#ifndef NDEBUG
  EXPECT_DEATH(leak(), "mr_pool_test.cc:[0-9]+");
#endif
  EXPECT_DEATH(leak(), "1 of 2 MRs leased");
}

// ------------------------------------------------------------------------------- waiters

struct Request : MrPool::Waiter {
  Request(Reactor& home, std::vector<Request*>& log)
      : Waiter(home, to_method<&Request::ready>), log(log) {}
  void ready(MrPool::Lease given) {
    lease = std::move(given);
    log.push_back(this);
  }
  std::vector<Request*>& log;
  MrPool::Lease lease;
};

class MrPoolWaiters : public ::testing::TestWithParam<uint32_t> {
 protected:
  FakePd pd;
  FakeReactor reactor;
  std::vector<Request*> log;
};

TEST_P(MrPoolWaiters, AreServedInOrder) {
  auto pool = make_pool(pd, 2, GetParam());
  auto a = pool->get();
  auto b = pool->get();
  Request r1(reactor, log), r2(reactor, log), r3(reactor, log);
  pool->get(r1);
  pool->get(r2);
  pool->get(r3);
  EXPECT_EQ(pool->stats().waits, 3u);
  EXPECT_EQ(reactor.poll(), 0u);
  a.reset();
  EXPECT_FALSE(pool->get());  // promised
  b.reset();
  EXPECT_TRUE(log.empty());  // never from inside a return
  reactor.poll();
  EXPECT_EQ(log, (std::vector{&r1, &r2}));
  r1.lease.reset();
  reactor.poll();
  EXPECT_EQ(log, (std::vector{&r1, &r2, &r3}));
  EXPECT_EQ(pool->stats().in_use, 2u);
  r2.lease.reset();
  r3.lease.reset();
  EXPECT_EQ(pool->stats().in_use, 0u);
}

TEST_P(MrPoolWaiters, AreServedAtOnceWhenThereIsOne) {
  auto pool = make_pool(pd, 1, GetParam());
  Request r1(reactor, log);
  pool->get(r1);
  EXPECT_TRUE(log.empty());  // never from inside get
  EXPECT_EQ(pool->stats().in_use, 1u);
  EXPECT_EQ(pool->stats().waits, 0u);
  reactor.poll();
  EXPECT_EQ(log, (std::vector{&r1}));
  EXPECT_TRUE(r1.lease);
}

TEST_P(MrPoolWaiters, CanCancelWhileQueued) {
  auto pool = make_pool(pd, 1, GetParam());
  auto lease = pool->get();
  Request r1(reactor, log), r2(reactor, log), r3(reactor, log);
  for (Request* r : {&r1, &r2, &r3}) pool->get(*r);
  EXPECT_TRUE(pool->cancel(r2));
  EXPECT_TRUE(pool->cancel(r1));
  EXPECT_FALSE(pool->cancel(r1));  // idle: there is nothing to take back
  lease.reset();
  reactor.poll();
  EXPECT_EQ(log, (std::vector{&r3}));
  r3.lease.reset();
  EXPECT_TRUE(pool->get());  // nobody waits any more
}

TEST_P(MrPoolWaiters, CancelAfterTheGrantIsFinal) {
  auto pool = make_pool(pd, 1, GetParam());
  auto lease = pool->get();
  Request r2(reactor, log);
  {
    Request r1(reactor, log);
    pool->get(r1);
    pool->get(r2);
    lease.reset();  // r1's, whose `ready` is on its way
    EXPECT_TRUE(pool->cancel(r1));
    EXPECT_FALSE(pool->cancel(r1));
  }  // destroyed at once
  reactor.poll();
  EXPECT_EQ(log, (std::vector{&r2}));
  EXPECT_TRUE(r2.lease);
}

TEST_P(MrPoolWaiters, MayWaitAgainAfterCancel) {
  auto pool = make_pool(pd, 1, GetParam());
  Request r1(reactor, log);
  for (int i = 0; i < 3; ++i) {
    pool->get(r1);
    EXPECT_TRUE(pool->cancel(r1));
    EXPECT_EQ(pool->stats().in_use, 0u);
  }
  pool->get(r1);
  reactor.poll();
  EXPECT_EQ(log, (std::vector{&r1}));
  EXPECT_TRUE(r1.lease);
}

TEST_P(MrPoolWaiters, CancelFromInsideReadyHasNoEffect) {
  auto pool = make_pool(pd, 1, GetParam());
  struct Cancels : MrPool::Waiter {
    Cancels(Reactor& home, MrPool& p) : Waiter(home, to_method<&Cancels::ready>), pool(p) {}
    void ready(MrPool::Lease lease) {
      EXPECT_FALSE(pool.cancel(*this));
      EXPECT_TRUE(lease);
      ++times;
    }
    MrPool& pool;
    int times = 0;
  } waiter(reactor, *pool);
  pool->get(waiter);
  reactor.poll();
  EXPECT_EQ(waiter.times, 1);
}

TEST_P(MrPoolWaiters, CancelIsFinalOnARealReactor) {
  auto loop = Reactor::create();
  ASSERT_TRUE(loop.ok()) << loop.status();
  auto pool = make_pool(pd, 1, GetParam());
  Request last(**loop, log);
  {
    Request first(**loop, log);
    pool->get(first);
    pool->get(last);
    EXPECT_TRUE(pool->cancel(first));
  }
  (*loop)->poll();
  EXPECT_EQ(log, (std::vector{&last}));
}

TEST_P(MrPoolWaiters, MayBeUsedAgainFromReady) {
  auto pool = make_pool(pd, 1, GetParam());
  struct Again : MrPool::Waiter {
    Again(Reactor& home, MrPool& p) : Waiter(home, to_method<&Again::ready>), pool(p) {}
    void ready(MrPool::Lease lease) {
      EXPECT_TRUE(lease);
      if (++times < 5) pool.get(*this);
    }
    MrPool& pool;
    int times = 0;
  } again(reactor, *pool);
  pool->get(again);
  while (reactor.poll() > 0) {
  }
  EXPECT_EQ(again.times, 5);
}

TEST_P(MrPoolWaiters, GetRepairedEntries) {
  auto pool = make_pool(pd, 2, GetParam());
  auto a = registered(*pool);
  auto b = registered(*pool);
  Request r1(reactor, log), r2(reactor, log);
  a.reset();  // to the repair list, before anybody waits
  pool->get(r1);
  reactor.poll();
  EXPECT_EQ(log, (std::vector{&r1}));
  pool->get(r2);
  b.reset();  // while somebody waits: repaired at once
  reactor.poll();
  EXPECT_EQ(log, (std::vector{&r1, &r2}));
  EXPECT_EQ(pool->stats().repairs, 2u);
}

// A loop with a clock.
struct ClockedReactor : FakeReactor {
  Nanoseconds now() const override { return time; }
  bool in_thread() const override { return here; }
  Nanoseconds time{100};
  bool here = true;
};

TEST_P(MrPoolWaiters, CountTheTimeOfWaitsThatEnded) {
  ClockedReactor home;
  auto pool = make_pool(pd, 1, GetParam());
  Request r1(home, log), r2(home, log), r3(home, log);
  pool->get(r1);  // there is one: no wait
  home.time += Nanoseconds(7);
  home.poll();
  EXPECT_EQ(pool->stats().wait_ns, 0u);
  pool->get(r2);
  home.time += Nanoseconds(10);
  pool->get(r3);
  home.time += Nanoseconds(10);
  EXPECT_EQ(pool->stats().wait_ns, 0u);
  EXPECT_TRUE(pool->cancel(r3));
  EXPECT_EQ(pool->stats().wait_ns, 10u);
  r1.lease.reset();
  home.time += Nanoseconds(5);  // until `ready` runs
  home.poll();
  EXPECT_EQ(pool->stats().wait_ns, 35u);
  EXPECT_EQ(pool->stats().waits, 2u);
  pool->get(r3);
  home.time += Nanoseconds(3);
  r2.lease.reset();
  EXPECT_TRUE(pool->cancel(r3)) << "after the grant";
  EXPECT_EQ(pool->stats().wait_ns, 38u);
  EXPECT_THAT(to_text(pool->stats()), HasSubstr("wait_ns 38\n"));
}

// The loop's clock is for its thread only; a real loop's is the steady one.
TEST_P(MrPoolWaiters, MayBeginToWaitOnAnotherThread) {
  ClockedReactor home;
  auto pool = make_pool(pd, 1, GetParam());
  auto lease = pool->get();
  Request waiter(home, log);
  home.here = false;
  const Nanoseconds before = std::chrono::steady_clock::now().time_since_epoch();
  pool->get(waiter);
  const Nanoseconds after = std::chrono::steady_clock::now().time_since_epoch();
  home.here = true;
  home.time = after + std::chrono::hours(1);
  lease.reset();
  home.poll();
  const Nanoseconds waited(int64_t(pool->stats().wait_ns));
  EXPECT_GE(waited, std::chrono::hours(1));
  EXPECT_LE(waited, std::chrono::hours(1) + (after - before));
  pool->get(waiter);
  home.time -= std::chrono::hours(2);  // a clock that was read before the wait began
  waiter.lease.reset();
  home.poll();
  EXPECT_EQ(Nanoseconds(int64_t(pool->stats().wait_ns)), waited);
}

TEST_P(MrPoolWaiters, QueuedAtDestructionAbort) {
  const auto destroy = [&] {
    auto pool = make_pool(pd, 1, GetParam());
    pd.renewals_to_fail = 100;
    registered(*pool);
    Request r1(reactor, log);
    pool->get(r1);
    pool.reset();
  };
  EXPECT_DEATH(destroy(), "waiters queued");
}

INSTANTIATE_TEST_SUITE_P(All, MrPoolWaiters, ::testing::Values(0, 32));

}  // namespace
}  // namespace mrpool
