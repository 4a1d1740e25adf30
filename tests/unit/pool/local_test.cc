// MrPool::Local: a thread's cache, looked up once.
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <thread>
#include <vector>

#include "mrpool/mr_pool.h"
#include "tests/unit/pool/fake_device.h"

namespace mrpool {
namespace {

using testing::FakePd;
using testing::FakeReactor;

std::unique_ptr<MrPool> make_pool(Pd& pd, uint32_t count, uint32_t cached_threads = 32) {
  auto pool = MrPool::create(pd, {.count = count, .cached_threads = cached_threads});
  EXPECT_TRUE(pool.ok()) << pool.status();
  return *std::move(pool);
}

void on_another_thread(auto run) { std::thread(run).join(); }

// All entries, through `local`, each once; then back the same way.
void expect_all(const MrPool::Local& local, uint32_t count) {
  std::vector<MrPool::Lease> leases;
  std::vector<const FastMr*> seen;
  for (uint32_t i = 0; i < count; ++i) {
    leases.push_back(local.get());
    ASSERT_TRUE(leases.back()) << "entry " << i << " of " << count;
    seen.push_back(&leases.back().mr());
  }
  EXPECT_FALSE(local.get());
  std::ranges::sort(seen);
  EXPECT_EQ(std::ranges::adjacent_find(seen), seen.end());
  for (auto& lease : leases) local.put(std::move(lease));
}

// With a cache, and without.
class Local : public ::testing::TestWithParam<uint32_t> {};

TEST_P(Local, GivesEveryEntryOnceAndNoMore) {
  for (uint32_t count : {1u, 2u, 7u, 33u, 256u}) {
    FakePd pd;
    auto pool = make_pool(pd, count, GetParam());
    const MrPool::Local local(*pool);
    for (int round = 0; round < 3; ++round) expect_all(local, count);
    EXPECT_EQ(pool->stats().in_use, 0u);
    EXPECT_EQ(pool->stats().gets, 3u * count);
    EXPECT_EQ(pool->stats().exhaustions, 3u);
  }
}

TEST_P(Local, MixesWithAnotherAndWithPlainCalls) {
  FakePd pd;
  auto pool = make_pool(pd, 8, GetParam());
  const MrPool::Local one(*pool);
  const MrPool::Local two(*pool);
  for (int round = 0; round < 50; ++round) {
    MrPool::Lease a = one.get();
    MrPool::Lease b = two.get();
    MrPool::Lease c = pool->get();
    ASSERT_TRUE(a && b && c);
    EXPECT_NE(&a.mr(), &b.mr());
    EXPECT_NE(&b.mr(), &c.mr());
    two.put(std::move(a));
    EXPECT_FALSE(a);
    one.put(std::move(c));
    b.reset();
  }
  EXPECT_EQ(pool->stats().in_use, 0u);
  EXPECT_EQ(pool->stats().gets, 150u);
  expect_all(one, 8);
}

TEST_P(Local, WhatItReturnedIsInReachOfEveryThread) {
  for (uint32_t count : {1u, 2u, 7u, 256u}) {
    FakePd pd;
    auto pool = make_pool(pd, count, GetParam());
    const MrPool::Local local(*pool);
    expect_all(local, count);  // this thread's cache holds what it can
    on_another_thread([&] { expect_all(MrPool::Local(*pool), count); });
    expect_all(local, count);
  }
}

// Works there as the pool does, and does not touch the cache of the thread that made it.
TEST_P(Local, WorksOnAnotherThread) {
  FakePd pd;
  auto pool = make_pool(pd, 64, GetParam());
  const MrPool::Local local(*pool);
  const auto work = [&] {
    for (int round = 0; round < 2000; ++round) {
      MrPool::Lease a = local.get();
      MrPool::Lease b = local.get();
      ASSERT_TRUE(a && b);
      ASSERT_NE(&a.mr(), &b.mr());
      local.put(std::move(a));
      local.put(std::move(b));
    }
  };
  std::thread other(work);
  work();
  other.join();
  expect_all(local, 64);
}

TEST_P(Local, WorksAfterTheThreadThatMadeItHasEnded) {
  FakePd pd;
  auto pool = make_pool(pd, 16, GetParam());
  std::optional<MrPool::Local> local;
  on_another_thread([&] {
    local.emplace(*pool);
    expect_all(*local, 16);
  });
  expect_all(*local, 16);
  // Its slot is another thread's now.
  on_another_thread([&] {
    const MrPool::Local heir(*pool);
    MrPool::Lease lease = heir.get();
    expect_all(*local, 15);
    heir.put(std::move(lease));
    expect_all(heir, 16);
  });
}

// Destructors of thread-locals may come after the thread has given its slot back.
TEST_P(Local, WorksWhileItsThreadEnds) {
  FakePd pd;
  auto pool = make_pool(pd, 4, GetParam());
  struct Last {
    ~Last() {
      if (local) expect_all(*local, 4);
    }
    std::optional<MrPool::Local> local;
  };
  on_another_thread([&] {
    thread_local Last last;  // older than what gives the slot back, so it ends later
    last.local.emplace(*pool);
    expect_all(*last.local, 4);
  });
  EXPECT_EQ(pool->stats().in_use, 0u);
  EXPECT_EQ(pool->stats().gets, 8u);
  expect_all(MrPool::Local(*pool), 4);
}

TEST_P(Local, ReturnsALeaseToThePoolItIsOf) {
  FakePd pd;
  auto here = make_pool(pd, 2, GetParam());
  auto there = make_pool(pd, 2, GetParam());
  const MrPool::Local local(*here);
  for (int round = 0; round < 10; ++round) {
    MrPool::Lease lease = there->get();
    local.put(std::move(lease));
    EXPECT_EQ(there->stats().in_use, 0u);
  }
  local.put(MrPool::Lease());
  EXPECT_EQ(here->stats().gets, 0u);
  expect_all(local, 2);
  expect_all(MrPool::Local(*there), 2);
}

TEST_P(Local, EndsTheLifeCycleAsALeaseDoes) {
  FakePd pd;
  auto pool = make_pool(pd, 2, GetParam());
  const MrPool::Local local(*pool);
  std::byte memory[64];
  const Sge segment[] = {{memory, sizeof memory, Lkey{1}}};
  WorkRequest wr;
  MrPool::Lease dead = local.get();
  dead.map(segment);
  ASSERT_EQ(dead.prepare_register(Access::kLocalWrite, wr), PostStatus::kOk);
  dead.invalidated();
  MrPool::Lease live = local.get();
  live.map(segment);
  ASSERT_EQ(live.prepare_register(Access::kLocalWrite, wr), PostStatus::kOk);
  local.put(std::move(dead));
  EXPECT_EQ(pool->stats().in_repair, 0u);
  local.put(std::move(live));
  EXPECT_EQ(pool->stats().in_repair, 1u);
  EXPECT_EQ(pool->repair(), 1u);
  expect_all(local, 2);
  MrPool::Lease again = local.get();
  EXPECT_EQ(again.state(), MrPool::State::kLeased);
}

TEST_P(Local, ReturnsServeWaiters) {
  FakePd pd;
  auto pool = make_pool(pd, 1, GetParam());
  FakeReactor reactor;
  const MrPool::Local local(*pool);
  static int served;
  served = 0;
  MrPool::Waiter waiter(reactor, [](MrPool::Waiter&, MrPool::Lease lease) {
    EXPECT_TRUE(lease);
    ++served;
  });
  for (int round = 1; round <= 20; ++round) {
    MrPool::Lease lease = local.get();
    pool->get(waiter);
    reactor.poll();
    EXPECT_EQ(served, round - 1);
    local.put(std::move(lease));
    EXPECT_FALSE(local.get()) << "the entry is the waiter's";
    reactor.poll();
    EXPECT_EQ(served, round);
  }
}

INSTANTIATE_TEST_SUITE_P(All, Local, ::testing::Values(0, 1, 32));

// Threads remember the pool they used last by its address: a pool that takes the place of one that
// is gone must not be taken for it, by any thread.
TEST(PoolAddress, ANewPoolWhereAnOldOneWasStartsFromNothing) {
  FakePd pd;
  std::atomic<MrPool*> work = nullptr;
  std::thread worker([&] {
    for (;;) {
      work.wait(nullptr);
      MrPool* const pool = work.load();
      if (reinterpret_cast<uintptr_t>(pool) == 1) return;
      {
        MrPool::Lease lease = pool->get();
        EXPECT_TRUE(lease);
      }
      {
        MrPool::Lease lease = pool->get();
        EXPECT_TRUE(lease);
      }
      expect_all(MrPool::Local(*pool), 3);
      work.store(nullptr);
      work.notify_all();
    }
  });
  int same_place = 0;
  const MrPool* last = nullptr;
  for (int round = 0; round < 50; ++round) {
    auto pool = make_pool(pd, 3);
    same_place += pool.get() == last ? 1 : 0;
    last = pool.get();
    // In every other round this thread takes the slot that the worker had of the pool before; else
    // that slot is nobody's yet.
    const bool first = round % 2 == 0;
    if (first) expect_all(MrPool::Local(*pool), 3);
    work.store(pool.get());
    work.notify_all();
    work.wait(pool.get());
    EXPECT_EQ(pool->stats().gets, first ? 8u : 5u);
    EXPECT_EQ(pool->stats().in_use, 0u);
  }
  work.store(reinterpret_cast<MrPool*>(1));
  work.notify_all();
  worker.join();
  RecordProperty("pools_at_the_same_address", same_place);
}

}  // namespace
}  // namespace mrpool
