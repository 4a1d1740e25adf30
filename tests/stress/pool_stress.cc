// The pool under many threads, with a checker: no entry is leased twice, none is lost, nobody is
// told "empty" while an entry must be free, every waiter is served exactly once.
//
// Environment: POOL_STRESS_SECONDS (per case, default 0.3), POOL_STRESS_SEED (default random,
// printed).
#include <gtest/gtest.h>

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

// Who holds each entry, beside the pool's own view of it.
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
TEST_P(PoolStress, NobodyIsToldEmptyWhileAnEntryIsFree) {
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

// Threads come and go, take more than there is, hand leases to each other, drop live keys.
TEST_P(PoolStress, ThreadsThatEndLoseNothing) {
  const Case& c = GetParam();
  FakePd pd;
  auto pool = make_pool(pd, c.entries, c.cached_threads);
  Checker checker(c.entries);
  const auto end = Clock::now() + run_time();
  std::mutex mailbox_mutex;
  std::vector<MrPool::Lease> mailbox;
  std::byte memory[64];
  const Sge segment[] = {{memory, sizeof memory, Lkey{1}}};
  const MrPool::Local foreign(*pool);
  const auto life = [&](uint64_t salt) {
    std::mt19937_64 rng(seed() + salt);
    const MrPool::Local own(*pool);
    std::vector<MrPool::Lease> held;
    for (int i = 0; i < 200; ++i) {
      switch (rng() % 8) {
        case 0:
        case 1:
        case 2:
          if (MrPool::Lease lease = get_somehow(*pool, own, foreign, rng())) {
            checker.took(lease);
            held.push_back(std::move(lease));
          }
          break;
        case 3:
        case 4:
          if (!held.empty()) {
            checker.returns(held.back());
            end_somehow(std::move(held.back()), own, foreign, rng());
            held.pop_back();
          }
          break;
        case 5:
          if (!held.empty()) {  // a key that is still live goes through repair
            WorkRequest wr;
            held.back().map(segment);
            ASSERT_EQ(held.back().prepare_register(Access::kLocalWrite, wr), PostStatus::kOk);
            checker.returns(held.back());
            end_somehow(std::move(held.back()), own, foreign, rng());
            held.pop_back();
          }
          break;
        case 6:
          if (!held.empty()) {
            const std::lock_guard lock(mailbox_mutex);
            mailbox.push_back(std::move(held.back()));
            held.pop_back();
          }
          break;
        case 7: {
          const std::lock_guard lock(mailbox_mutex);
          if (!mailbox.empty()) {
            held.push_back(std::move(mailbox.back()));
            mailbox.pop_back();
          }
          break;
        }
      }
    }
    for (const auto& lease : held) checker.returns(lease);
  };
  std::vector<std::thread> starters;
  for (uint32_t t = 0; t < c.threads; ++t) {
    starters.emplace_back([&, t] {
      for (uint64_t n = t; Clock::now() < end; n += 1000) std::thread(life, n).join();
    });
  }
  for (auto& starter : starters) starter.join();
  for (const auto& lease : mailbox) checker.returns(lease);
  mailbox.clear();
  pool->repair();
  expect_full(*pool, c.entries);
}

// Every thread is a reactor whose requests wait for entries, hold them for a while, and are
// sometimes cancelled and destroyed at once; one more thread barges in with plain gets.
TEST_P(PoolStress, WaitersAreServedExactlyOnce) {
  const Case& c = GetParam();
  FakePd pd;
  auto pool = make_pool(pd, c.entries, c.cached_threads);
  Checker checker(c.entries);
  const auto end = Clock::now() + run_time();

  struct Request : MrPool::Waiter {
    explicit Request(Reactor& home) : Waiter(home, to_method<&Request::ready>) {}
    void ready(MrPool::Lease given) {
      ASSERT_TRUE(pending);
      ASSERT_TRUE(given);
      pending = false;
      checker->took(given);
      lease = std::move(given);
      ++served;
    }
    Checker* checker = nullptr;
    bool pending = false;
    MrPool::Lease lease;
    uint64_t served = 0;
  };
  std::atomic<uint64_t> served = 0;
  const MrPool::Local foreign(*pool);
  const auto worker = [&](uint64_t salt) {
    std::mt19937_64 rng(seed() + salt);
    FakeReactor reactor;
    const MrPool::Local own(*pool);
    std::vector<std::unique_ptr<Request>> requests;
    for (int i = 0; i < 3; ++i) {
      requests.push_back(std::make_unique<Request>(reactor));
      requests.back()->checker = &checker;
    }
    uint32_t busy = 1;
    for (bool ending = false; busy > 0;) {
      ending = ending || Clock::now() >= end;
      reactor.poll();
      busy = ending ? 0 : 1;
      for (auto& request : requests) {
        if (request->pending) {
          if (rng() % 16 == 0) {
            // Final: the waiter may go at once, also when its grant is on its way.
            ASSERT_TRUE(pool->cancel(*request));
            served += request->served;
            request = std::make_unique<Request>(reactor);
            request->checker = &checker;
          }
        } else if (request->lease) {
          if (ending || rng() % 4 == 0) {
            checker.returns(request->lease);
            end_somehow(std::move(request->lease), own, foreign, rng());
          }
        } else if (!ending) {
          request->pending = true;
          pool->get(*request);
        }
        busy += request->pending || request->lease;
      }
      if (c.threads > 2) std::this_thread::yield();
    }
    for (auto& request : requests) served += request->served;
  };
  std::vector<std::thread> threads;
  for (uint32_t t = 0; t < c.threads; ++t) threads.emplace_back(worker, t);
  std::atomic<bool> stop = false;
  std::thread barger([&] {
    const MrPool::Local own(*pool);
    while (!stop.load()) {
      if (MrPool::Lease lease = own.get()) {
        checker.took(lease);
        checker.returns(lease);
        own.put(std::move(lease));
      }
      std::this_thread::yield();
    }
  });
  for (auto& thread : threads) thread.join();
  stop.store(true);
  barger.join();
  EXPECT_GT(served, 0u);
  expect_full(*pool, c.entries);
}

INSTANTIATE_TEST_SUITE_P(All, PoolStress,
                         ::testing::Values(Case{1, 1, 32}, Case{1, 2, 32}, Case{2, 2, 32},
                                           Case{2, 2, 1}, Case{2, 4, 32}, Case{4, 4, 2},
                                           Case{16, 4, 32}, Case{16, 16, 8}, Case{256, 4, 32},
                                           Case{64, 4, 0}),
                         name);

// Pools come and go, often at the same address, while threads that used the last one and will use
// the next are busy with a third.
TEST(PoolsInTurn, NoneIsTakenForAnother) {
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
TEST(PoolHandOver, EveryEntryComesBack) {
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
