// The pool under many threads, with a checker: no entry is leased twice or lost, no get returns
// empty while an entry must be free, and every waiter is served exactly once.
//
// Environment: POOL_STRESS_SECONDS (per case, default 0.3), POOL_STRESS_SEED (default random,
// printed).
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <random>
#include <thread>

#include "mrpool/callback.h"
#include "tests/unit/pool/fake_device.h"

namespace mrpool {
namespace {

using testing::FakePd;
using testing::FakeReactor;
using Clock = std::chrono::steady_clock;

Clock::duration run_time() {
  const char* text = std::getenv("POOL_STRESS_SECONDS");
  return std::chrono::duration_cast<Clock::duration>(
      std::chrono::duration<double>(text != nullptr ? std::atof(text) : 0.3));
}

uint64_t seed() {
  static const uint64_t value = [] {
    const char* text = std::getenv("POOL_STRESS_SEED");
    const uint64_t s = text != nullptr ? std::strtoull(text, nullptr, 0) : std::random_device{}();
    ::testing::Test::RecordProperty("seed", std::to_string(s));
    std::fprintf(stderr, "POOL_STRESS_SEED=%llu\n", (unsigned long long)s);
    return s;
  }();
  return value;
}

// The holder of each entry, recorded independently of the pool.
class Checker {
 public:
  explicit Checker(uint32_t count) : payload_(count + 1) {}

  void took(const MrPool::Lease& lease) {
    // The word is plain on purpose: TSan reports a lease that reaches two threads, or one thread
    // without the other's writes.
    uint64_t& word = payload_[number(lease)];
    ASSERT_EQ(word, 0u) << "leased twice";
    word = 1;
  }
  void returns(const MrPool::Lease& lease) { payload_[number(lease)] = 0; }

 private:
  static size_t number(const MrPool::Lease& lease) { return lease.mr().lkey().value >> 8; }
  std::vector<uint64_t> payload_;
};

std::unique_ptr<MrPool> make_pool(Pd& pd, uint32_t count, uint32_t cached_threads) {
  auto pool = MrPool::create(pd, {.count = count, .cached_threads = cached_threads});
  EXPECT_TRUE(pool.ok()) << pool.status();
  return *std::move(pool);
}

// Afterwards all entries are there for one thread that never used the pool.
void expect_full(MrPool& pool, uint32_t count) {
  EXPECT_EQ(pool.stats().in_use, 0u);
  EXPECT_EQ(pool.stats().in_repair, 0u);
  std::thread([&] {
    std::vector<MrPool::Lease> leases;
    for (uint32_t i = 0; i < count; ++i) {
      leases.push_back(pool.get());
      ASSERT_TRUE(leases.back()) << "lost: " << count - i;
    }
    EXPECT_FALSE(pool.get());
  }).join();
}

struct Case {
  uint32_t entries;
  uint32_t threads;
  uint32_t cached_threads;
};

std::string name(const ::testing::TestParamInfo<Case>& info) {
  return std::to_string(info.param.entries) + "entries_" + std::to_string(info.param.threads) +
         "threads_" + std::to_string(info.param.cached_threads) + "cached";
}

// All ways to get, and to end a lease, are one to the pool.
MrPool::Lease get_somehow(MrPool& pool, const MrPool::Local& own, const MrPool::Local& foreign,
                          uint64_t way) {
  if (way % 8 == 0) return foreign.get();
  return way % 2 == 0 ? own.get() : pool.get();
}

void end_somehow(MrPool::Lease lease, const MrPool::Local& own, const MrPool::Local& foreign,
                 uint64_t way) {
  if (way % 8 == 0) return foreign.put(std::move(lease));
  if (way % 2 == 0) own.put(std::move(lease));
}

class PoolStress : public ::testing::TestWithParam<Case> {};

// No thread holds more than its share, so no get may ever fail.
TEST_P(PoolStress, GetNeverFailsWhileAnEntryIsFree) {
  const Case& c = GetParam();
  if (c.entries < c.threads) {
    // The share would be nothing; the other tests have these cases.
    return;
  }
  FakePd pd;
  auto pool = make_pool(pd, c.entries, c.cached_threads);
  Checker checker(c.entries);
  const uint32_t share = c.entries / c.threads;
  const auto end = Clock::now() + run_time();
  std::atomic<uint64_t> operations = 0;
  const MrPool::Local foreign(*pool);  // this thread's, used by the others
  const auto worker = [&](uint64_t salt) {
    std::mt19937_64 rng(seed() + salt);
    const MrPool::Local own(*pool);
    std::vector<MrPool::Lease> held;
    uint64_t done = 0;
    while (Clock::now() < end) {
      for (int i = 0; i < 50; ++i, ++done) {
        if (held.size() < share && (held.empty() || rng() % 2 == 0)) {
          MrPool::Lease lease = get_somehow(*pool, own, foreign, rng());
          ASSERT_TRUE(lease) << "false exhaustion";
          checker.took(lease);
          held.push_back(std::move(lease));
        } else {
          const size_t i_held = rng() % held.size();
          std::swap(held[i_held], held.back());
          checker.returns(held.back());
          end_somehow(std::move(held.back()), own, foreign, rng());
          held.pop_back();
        }
      }
    }
    for (const auto& lease : held) checker.returns(lease);
    operations += done;
  };
  std::vector<std::thread> threads;
  for (uint32_t t = 0; t < c.threads; ++t) threads.emplace_back(worker, t);
  for (auto& thread : threads) thread.join();
  EXPECT_GT(operations, 0u);
  EXPECT_EQ(pool->stats().exhaustions, 0u);
  expect_full(*pool, c.entries);
}

// Leases on their way from one thread to another.
class HandOver {
 public:
  void put(MrPool::Lease lease) {
    const std::lock_guard lock(mutex_);
    leases_.push_back(std::move(lease));
  }
  MrPool::Lease take() {
    const std::lock_guard lock(mutex_);
    if (leases_.empty()) return {};
    MrPool::Lease lease = std::move(leases_.back());
    leases_.pop_back();
    return lease;
  }

 private:
  std::mutex mutex_;
  std::vector<MrPool::Lease> leases_;
};

// What the threads of one test share.
struct Shared {
  Shared(Pd& pd, const Case& c)
      : pool(make_pool(pd, c.entries, c.cached_threads)), checker(c.entries) {}
  const std::unique_ptr<MrPool> pool;
  const MrPool::Local foreign{*pool};
  Checker checker;
  const Clock::time_point end = Clock::now() + run_time();
};

// A thread that takes, uses, passes on and returns leases, and ends with some in its hands.
class ShortLife {
 public:
  ShortLife(Shared& shared, HandOver& others, uint64_t salt)
      : shared_(shared), others_(others), rng_(seed() + salt), own_(*shared.pool) {}
  ~ShortLife() {
    for (const auto& lease : held_) shared_.checker.returns(lease);
  }

  void step() {
    const uint64_t what = rng_() % 8;
    if (what < 3) {
      take(get_somehow(*shared_.pool, own_, shared_.foreign, rng_()));
    } else if (what == 3) {
      if (MrPool::Lease lease = others_.take()) held_.push_back(std::move(lease));
    } else if (!held_.empty()) {
      MrPool::Lease lease = std::move(held_.back());
      held_.pop_back();
      if (what == 4) return others_.put(std::move(lease));
      if (what == 5) make_key(lease);
      shared_.checker.returns(lease);
      end_somehow(std::move(lease), own_, shared_.foreign, rng_());
    }
  }

 private:
  void take(MrPool::Lease lease) {
    if (!lease) return;
    shared_.checker.took(lease);
    held_.push_back(std::move(lease));
  }
  // A key that is still live goes through repair.
  void make_key(MrPool::Lease& lease) {
    const Sge segment[] = {{memory_, sizeof memory_, Lkey{1}}};
    WorkRequest wr;
    lease.map(segment);
    ASSERT_EQ(lease.prepare_register(Access::kLocalWrite, wr), PostStatus::kOk);
  }

  Shared& shared_;
  HandOver& others_;
  std::mt19937_64 rng_;
  const MrPool::Local own_;
  std::vector<MrPool::Lease> held_;
  std::byte memory_[64];
};

// Threads come and go, take more than there is, hand leases to each other, drop live keys.
TEST_P(PoolStress, EntriesOfEndedThreadsAreFound) {
  const Case& c = GetParam();
  FakePd pd;
  Shared shared(pd, c);
  HandOver others;
  const auto live = [&](uint64_t salt) {
    ShortLife life(shared, others, salt);
    for (int i = 0; i < 200; ++i) life.step();
  };
  std::vector<std::thread> starters;
  for (uint32_t t = 0; t < c.threads; ++t) {
    starters.emplace_back([&, t] {
      for (uint64_t n = t; Clock::now() < shared.end; n += 1000) std::thread(live, n).join();
    });
  }
  for (auto& starter : starters) starter.join();
  while (MrPool::Lease lease = others.take()) shared.checker.returns(lease);
  shared.pool->repair();
  expect_full(*shared.pool, c.entries);
}

// A thread with a reactor, whose requests wait for entries, hold them for a while, and are
// sometimes cancelled and destroyed at once.
class WaitingThread {
 public:
  WaitingThread(Shared& shared, uint64_t salt)
      : shared_(shared), rng_(seed() + salt), own_(*shared.pool) {
    for (auto& request : requests_) request = std::make_unique<Request>(*this);
  }

  // True while a request waits or holds an entry. Ending: no new ones.
  bool step(bool ending) {
    reactor_.poll();
    bool busy = false;
    for (auto& request : requests_) {
      step(request, ending);
      busy = busy || request->pending || request->lease;
    }
    return busy;
  }
  uint64_t served() const { return served_; }

 private:
  struct Request : MrPool::Waiter {
    explicit Request(WaitingThread& owner)
        : Waiter(owner.reactor_, to_method<&Request::ready>), thread(owner) {}
    void ready(MrPool::Lease given) {
      ASSERT_TRUE(pending);
      ASSERT_TRUE(given);
      pending = false;
      thread.shared_.checker.took(given);
      lease = std::move(given);
      ++thread.served_;
    }
    WaitingThread& thread;
    bool pending = false;
    MrPool::Lease lease;
  };

  void step(std::unique_ptr<Request>& request, bool ending) {
    if (request->pending) {
      if (rng_() % 16 != 0) return;
      // Final: the waiter may go at once, also when its grant is on its way.
      ASSERT_TRUE(shared_.pool->cancel(*request));
      request = std::make_unique<Request>(*this);
    } else if (request->lease) {
      if (!ending && rng_() % 4 != 0) return;
      shared_.checker.returns(request->lease);
      end_somehow(std::move(request->lease), own_, shared_.foreign, rng_());
    } else if (!ending) {
      request->pending = true;
      shared_.pool->get(*request);
    }
  }

  Shared& shared_;
  std::mt19937_64 rng_;
  FakeReactor reactor_;
  const MrPool::Local own_;
  std::array<std::unique_ptr<Request>, 3> requests_;
  uint64_t served_ = 0;
};

// Takes and returns entries past those that wait, until `stop`.
void barge_in(Shared& shared, const std::atomic<bool>& stop) {
  const MrPool::Local own(*shared.pool);
  while (!stop.load()) {
    if (MrPool::Lease lease = own.get()) {
      shared.checker.took(lease);
      shared.checker.returns(lease);
      own.put(std::move(lease));
    }
    std::this_thread::yield();
  }
}

TEST_P(PoolStress, EachWaiterIsServedOnce) {
  const Case& c = GetParam();
  FakePd pd;
  Shared shared(pd, c);
  std::atomic<uint64_t> served = 0;
  std::vector<std::thread> threads;
  for (uint32_t t = 0; t < c.threads; ++t) {
    threads.emplace_back([&, t] {
      WaitingThread thread(shared, t);
      bool ending = false;
      while (thread.step(ending) || !ending) {
        ending = ending || Clock::now() >= shared.end;
        if (c.threads > 2) std::this_thread::yield();
      }
      served += thread.served();
    });
  }
  std::atomic<bool> stop = false;
  std::thread barger([&] { barge_in(shared, stop); });
  for (auto& thread : threads) thread.join();
  stop.store(true);
  barger.join();
  EXPECT_GT(served, 0u);
  expect_full(*shared.pool, c.entries);
}

INSTANTIATE_TEST_SUITE_P(All, PoolStress,
                         ::testing::Values(Case{1, 1, 32}, Case{1, 2, 32}, Case{2, 2, 32},
                                           Case{2, 2, 1}, Case{2, 4, 32}, Case{4, 4, 2},
                                           Case{16, 4, 32}, Case{16, 16, 8}, Case{256, 4, 32},
                                           Case{64, 4, 0}),
                         name);

// Pools come and go, often at the same address, while threads that used the last one and will use
// the next are busy with a third.
TEST(PoolReuseStress, PoolsAtTheSameAddressAreDistinct) {
  FakePd pd;
  auto lasting = make_pool(pd, 8, 32);
  Checker checker(8);
  constexpr int kWorkers = 3;
  std::atomic<MrPool*> passing = nullptr;
  std::atomic<int> round = 0;
  std::atomic<int> visits = 0;
  std::atomic<bool> stop = false;
  const auto worker = [&] {
    const MrPool::Local local(*lasting);
    int seen = 0;
    while (!stop.load()) {
      for (int i = 0; i < 20; ++i) {
        MrPool::Lease a = local.get();
        MrPool::Lease b = lasting->get();
        ASSERT_TRUE(a && b);
        checker.took(a);
        checker.took(b);
        checker.returns(a);
        checker.returns(b);
        a.reset();
        local.put(std::move(b));
      }
      if (round.load() == seen) continue;
      seen = round.load();
      {
        MrPool& guest = *passing.load();
        const MrPool::Local its(guest);
        MrPool::Lease a = guest.get();
        MrPool::Lease b = its.get();
        ASSERT_TRUE(a && b);
        ASSERT_NE(&a.mr(), &b.mr());
        its.put(std::move(a));
      }
      visits.fetch_add(1);
    }
  };
  std::vector<std::thread> threads;
  for (int t = 0; t < kWorkers; ++t) threads.emplace_back(worker);
  const auto end = Clock::now() + run_time();
  do {
    FakePd own;
    auto pool = make_pool(own, 2 * kWorkers, 32);
    visits.store(0);
    passing.store(pool.get());
    round.fetch_add(1);
    while (visits.load() < kWorkers) std::this_thread::yield();
    EXPECT_EQ(pool->stats().gets, 2u * kWorkers);
    pool.reset();  // the workers are back with the lasting one
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  } while (Clock::now() < end);
  stop.store(true);
  for (auto& thread : threads) thread.join();
  EXPECT_GT(round.load(), 0);
  expect_full(*lasting, 8);
}

// One thread gets, another returns: what SPSC pipelines do.
TEST(PoolHandOverStress, EntriesReturnedByAnotherThreadAreFound) {
  for (uint32_t count : {1u, 2u, 64u, 256u}) {
    FakePd pd;
    auto pool = make_pool(pd, count, 32);
    Checker checker(count);
    std::atomic<uint64_t> handed_over = UINT64_MAX;  // known at the end
    std::vector<std::atomic<MrPool::Lease*>> ring(64);
    std::thread consumer([&] {
      for (uint64_t i = 0; i < handed_over.load(); ++i) {
        auto& cell = ring[i % ring.size()];
        MrPool::Lease* lease;
        while ((lease = cell.load(std::memory_order_acquire)) == nullptr) {
          if (i == handed_over.load()) return;
          std::this_thread::yield();
        }
        checker.returns(*lease);
        lease->reset();
        cell.store(nullptr, std::memory_order_release);
      }
    });
    std::vector<MrPool::Lease> cells(ring.size());
    // By time: on a busy machine each of them may have to wait for the other to be let run.
    uint64_t done = 0;
    for (const auto end = Clock::now() + run_time(); Clock::now() < end; ++done) {
      auto& cell = ring[done % ring.size()];
      while (cell.load(std::memory_order_acquire) != nullptr) std::this_thread::yield();
      MrPool::Lease lease;
      while (!(lease = pool->get())) std::this_thread::yield();
      checker.took(lease);
      cells[done % ring.size()] = std::move(lease);
      cell.store(&cells[done % ring.size()], std::memory_order_release);
    }
    handed_over.store(done);
    consumer.join();
    EXPECT_GT(done, 0u);
    expect_full(*pool, count);
  }
}

}  // namespace
}  // namespace mrpool
