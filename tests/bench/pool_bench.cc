// Pools of MRs side by side (Google Benchmark): get+put on one thread, in bursts, drained and
// refilled, by two threads, handed over, and by more threads than cores.
//
// Names are CASE/PEER. Iterations are fixed, so that a round of all peers takes seconds and rounds
// can be interleaved; tests/bench/groups/pool.py turns Google Benchmark's times into nanoseconds
// per get+put as one thread sees it.
#include <benchmark/benchmark.h>
#include <pthread.h>
#include <sched.h>
#include <x86intrin.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <thread>

#include "examples/load/histogram.h"
#include "mrpool/mr_pool.h"
#include "tests/bench/nop_device.h"
#include "tests/bench/pool_peers.h"
#ifdef MRPOOL_BENCH_DPDK
#include <rte_eal.h>
#endif

namespace mrpool::bench {
namespace {

constexpr uint32_t kEntries = 256;
constexpr uint32_t kBurst = 8;

// Ours, as a program uses it: leases of a pool over a device that costs nothing.
class Ours {
 public:
  static constexpr const char* kName = "mrpool";
  explicit Ours(uint32_t count) : pool_(*MrPool::create(pd_, {.count = count})) {}
  // A thread that uses a pool has its address at hand.
  struct Local {
    explicit Local(Ours& owner) : pool(*owner.pool_) {}
    MrPool& pool;
  };
  [[gnu::always_inline]] MrPool::Lease get(Local& local) { return local.pool.get(); }
  [[gnu::always_inline]] void put(Local&, MrPool::Lease&& lease) { lease.reset(); }
  MrPool& pool() { return *pool_; }

 private:
  NopPd pd_;
  std::unique_ptr<MrPool> pool_;
};

// Ours, with the thread's cache looked up once, as DPDK's mempool is used.
class OursLocal {
 public:
  static constexpr const char* kName = "mrpool-local";
  explicit OursLocal(uint32_t count) : owner_(count) {}
  struct Local : MrPool::Local {
    explicit Local(OursLocal& owner) : MrPool::Local(owner.owner_.pool()) {}
  };
  [[gnu::always_inline]] MrPool::Lease get(Local& local) { return local.get(); }
  [[gnu::always_inline]] void put(Local& local, MrPool::Lease&& lease) {
    local.put(std::move(lease));
  }

 private:
  Ours owner_;
};

void pin(int thread) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(thread % int(std::thread::hardware_concurrency()), &set);
  pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
}

// The entry is used between get and put, as far as the compiler knows: by its address, which is all
// that a Lease consists of.
void use(Item* item) { asm volatile("" : : "r"(item) : "memory"); }
void use(const MrPool::Lease& lease) {
  void* entry;
  static_assert(sizeof lease == sizeof entry);
  std::memcpy(&entry, &lease, sizeof entry);
  asm volatile("" : : "r"(entry) : "memory");
}

template <typename P>
P* pool;
template <typename P, uint32_t kCount>
void set_up(const benchmark::State&) {
  pool<P> = new P(kCount);
}
template <typename P>
void tear_down(const benchmark::State&) {
  delete pool<P>;
}

template <typename P>
void get_put(benchmark::State& state) {
  pin(state.thread_index());
  typename P::Local local(*pool<P>);
  for (auto _ : state) {
    auto item = pool<P>->get(local);
    use(item);
    pool<P>->put(local, std::move(item));
  }
}

double ticks_per_ns() {
  static const double value = [] {
    const auto begin = std::chrono::steady_clock::now();
    const uint64_t ticks = __rdtsc();
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    const std::chrono::duration<double, std::nano> ns = std::chrono::steady_clock::now() - begin;
    return double(__rdtsc() - ticks) / ns.count();
  }();
  return value;
}

// Others may hold what is missing; a pool whose caches hide entries makes this wait. Forced inline
// for all: where it is a call, a Lease is handed back through memory and an Item* is not.
template <typename P>
[[gnu::always_inline]] inline auto get_some(typename P::Local& local) {
  for (uint32_t tries = 1;; ++tries) {
    if (auto item = pool<P>->get(local)) return item;
    if (tries % 64 == 0) {
      sched_yield();
    } else {
      _mm_pause();
    }
  }
}

double thread_cpu_ns() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return double(now.tv_sec) * 1e9 + double(now.tv_nsec);
}

// Several threads run for a time, not for a number of operations: the peers differ a thousandfold,
// and all threads must be at it together.
uint64_t ticks_of_ms(double ms) { return uint64_t(ms * 1e6 * ticks_per_ns()); }

template <typename P>
void two_threads(benchmark::State& state) {
  constexpr int kBetweenLooks = 100;
  pin(state.thread_index());
  typename P::Local local(*pool<P>);
  uint64_t pairs = 0;
  double cpu_ns = 0;
  const uint64_t enough = ticks_of_ms(30);
  for (auto _ : state) {
    const double cpu_begin = thread_cpu_ns();
    const uint64_t begin = __rdtsc();
    do {
      for (int i = 0; i < kBetweenLooks; ++i) {
        auto item = get_some<P>(local);
        use(item);
        pool<P>->put(local, std::move(item));
      }
      pairs += kBetweenLooks;
    } while (__rdtsc() - begin < enough);
    cpu_ns = thread_cpu_ns() - cpu_begin;
  }
  // CPU time: spinning counts, being preempted by a neighbour's program does not.
  state.counters["pair_ns"] =
      benchmark::Counter(cpu_ns / double(pairs), benchmark::Counter::kAvgThreads);
}

template <typename P, uint32_t kCount>
void burst(benchmark::State& state) {
  pin(0);
  typename P::Local local(*pool<P>);
  std::array<decltype(pool<P>->get(local)), kCount> items;
  for (auto _ : state) {
    for (auto& item : items) {
      item = pool<P>->get(local);
      use(item);
    }
    for (auto& item : items) pool<P>->put(local, std::move(item));
  }
}

// One thread gets, the other puts; entries travel through a ring.
template <typename T>
class SpscRing {
 public:
  static constexpr uint32_t kSlots = 64;
  [[gnu::always_inline]] bool push(T&& item) {
    const uint32_t tail = tail_.load(std::memory_order_relaxed);
    if (tail - head_seen_ == kSlots) {
      head_seen_ = head_.load(std::memory_order_acquire);
      if (tail - head_seen_ == kSlots) return false;
    }
    slots_[tail % kSlots] = std::move(item);
    tail_.store(tail + 1, std::memory_order_release);
    return true;
  }
  [[gnu::always_inline]] bool pop(T& item) {
    const uint32_t head = head_.load(std::memory_order_relaxed);
    if (head == tail_seen_) {
      tail_seen_ = tail_.load(std::memory_order_acquire);
      if (head == tail_seen_) return false;
    }
    item = std::move(slots_[head % kSlots]);
    head_.store(head + 1, std::memory_order_release);
    return true;
  }

 private:
  alignas(64) std::atomic<uint32_t> tail_{0};
  uint32_t head_seen_ = 0;
  alignas(64) std::atomic<uint32_t> head_{0};
  uint32_t tail_seen_ = 0;
  alignas(64) std::array<T, kSlots> slots_ = {};
};

// Spins, and lets another thread run now and then: the machine may be shared.
template <typename Try>
[[gnu::always_inline]] inline void until(Try attempt) {
  for (uint32_t tries = 1; !attempt(); ++tries) {
    if (tries % 1024 == 0) {
      sched_yield();
    } else {
      _mm_pause();
    }
  }
}

template <typename P>
using ItemOf = decltype(std::declval<P>().get(std::declval<typename P::Local&>()));
template <typename P>
SpscRing<ItemOf<P>> ring;

template <typename P>
void hand_over(benchmark::State& state) {
  pin(state.thread_index());
  typename P::Local local(*pool<P>);
  ItemOf<P> item = {};
  if (state.thread_index() == 0) {
    for (auto _ : state) {
      until([&] { return bool(item = pool<P>->get(local)); });
      use(item);
      until([&] { return ring<P>.push(std::move(item)); });
    }
  } else {
    for (auto _ : state) {
      until([&] { return ring<P>.pop(item); });
      use(item);
      pool<P>->put(local, std::move(item));
    }
  }
}

// The floor of a hand-over: the entries come back through a second ring, no pool at all.
class TwoRings {
 public:
  static constexpr const char* kName = "two-spsc-rings";
  explicit TwoRings(uint32_t) {
    for (Item& item : items_) back_.push(&item);
  }
  struct Local {
    explicit Local(TwoRings&) {}
  };
  [[gnu::always_inline]] Item* get(Local&) {
    Item* item = nullptr;
    return back_.pop(item) ? item : nullptr;
  }
  // There is always room: the ring holds them all.
  [[gnu::always_inline]] void put(Local&, Item* item) { back_.push(std::move(item)); }

 private:
  std::array<Item, SpscRing<Item*>::kSlots> items_;
  SpscRing<Item*> back_;
};

// Waits until both threads are here.
void meet() {
  static std::atomic<uint32_t> arrivals = 0;
  const uint32_t both = (arrivals.fetch_add(1) + 2) / 2 * 2;
  until([&] { return int32_t(arrivals.load() - both) >= 0; });
}

template <typename P>
class HandOver {
 public:
  explicit HandOver(int thread) : thread_(thread), local_(*pool<P>) {}

  void sample() {
    constexpr int kHandOvers = 20000;
    ItemOf<P> item = {};
    meet();
    const uint64_t begin = __rdtsc();
    if (thread_ == 0) {
      for (int i = 0; i < kHandOvers; ++i) {
        until([&] { return bool(item = pool<P>->get(local_)); });
        use(item);
        until([&] { return ring<P>.push(std::move(item)); });
      }
    } else {
      for (int i = 0; i < kHandOvers; ++i) {
        until([&] { return ring<P>.pop(item); });
        use(item);
        pool<P>->put(local_, std::move(item));
      }
    }
    meet();
    ns_.push_back(double(__rdtsc() - begin) / ticks_per_ns() / kHandOvers);
  }
  double median() {
    std::ranges::nth_element(ns_, ns_.begin() + std::ptrdiff_t(ns_.size() / 2));
    return ns_[ns_.size() / 2];
  }

 private:
  const int thread_;
  typename P::Local local_;
  std::vector<double> ns_;
};

// What two virtual cores do to each other changes from one tenth of a second to the next, by more
// than the contenders differ: so they take turns within half a millisecond.
void hand_over_in_turns(benchmark::State& state) {
  constexpr int kTurns = 60;
  const int thread = state.thread_index();
  pin(thread);
  HandOver<Ours> ours(thread);
  HandOver<OursLocal> local(thread);
  HandOver<TwoRings> rings(thread);
  for (auto _ : state) {
    for (int turn = 0; turn < kTurns; ++turn) {
      ours.sample();
      rings.sample();
      local.sample();
    }
  }
  if (thread != 0) return;
  state.counters["mrpool"] = ours.median();
  state.counters["mrpool-local"] = local.median();
  state.counters["two-spsc-rings"] = rings.median();
}

std::array<std::unique_ptr<load::Histogram>, 16> histograms;

// Get+put pairs timed together: some machines' time stamp counter advances in steps of 10 ns.
constexpr int kTimedPairs = 8;

// The clock's own cost is in every peer's figure, the floor's included.
template <typename P>
void crowd(benchmark::State& state) {
  pin(state.thread_index());
  typename P::Local local(*pool<P>);
  auto& mine = histograms[size_t(state.thread_index())];
  mine = std::make_unique<load::Histogram>();
  for (auto _ : state) {
    const uint64_t end = __rdtsc() + ticks_of_ms(60);
    for (uint64_t now = 0; now < end;) {
      const uint64_t begin = __rdtsc();
      for (int i = 0; i < kTimedPairs; ++i) {
        auto item = get_some<P>(local);
        use(item);
        pool<P>->put(local, std::move(item));
      }
      now = __rdtsc();
      mine->add(now - begin);
    }
  }
  if (state.thread_index() != 0) return;
  // The loop ends with a barrier: the others have added their last.
  load::Histogram all;
  for (int i = 0; i < state.threads(); ++i) all.merge(*histograms[size_t(i)]);
  const double scale = 1 / ticks_per_ns();
  state.counters["p50"] = double(all.percentile(50)) * scale;
  state.counters["p99"] = double(all.percentile(99)) * scale;
  state.counters["p99.9"] = double(all.percentile(99.9)) * scale;
  state.counters["max"] = double(all.max()) * scale;
}

// After four threads used the pool and idle with what their caches hold: how many entries can a
// fifth still get?
template <typename P>
void reachable(benchmark::State& state) {
  uint32_t got = 0;
  for (auto _ : state) {
    P peer(kEntries);
    std::atomic<int> idle = 0;
    std::atomic<bool> end = false;
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        typename P::Local local(peer);
        std::array<ItemOf<P>, 40> items = {};
        for (int round = 0; round < 100; ++round) {
          for (auto& item : items) item = peer.get(local);
          for (auto& item : items) {
            if (item) peer.put(local, std::move(item));
          }
        }
        idle.fetch_add(1);
        while (!end.load()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      });
    }
    while (idle.load() < 4) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    {
      typename P::Local local(peer);
      std::vector<ItemOf<P>> items;
      while (auto item = peer.get(local)) items.push_back(std::move(item));
      got = uint32_t(items.size());
      for (auto& item : items) peer.put(local, std::move(item));
    }
    end.store(true);
    for (std::thread& thread : threads) thread.join();
  }
  state.counters["reachable"] = got;
}

template <typename P, uint32_t kCount = kEntries>
benchmark::internal::Benchmark* add(const char* name, int64_t iterations,
                                    void (*run)(benchmark::State&)) {
  return benchmark::RegisterBenchmark((std::string(name) + "/" + P::kName).c_str(), run)
      ->Setup(set_up<P, kCount>)
      ->Teardown(tear_down<P>)
      ->Iterations(iterations)
      ->UseRealTime();
}

template <typename P>
void add_all() {
  add<P>("single", 2000000, get_put<P>);
  add<P>("burst8", 200000, burst<P, kBurst>);
  add<P>("drain256", 6000, burst<P, kEntries>);
  add<P>("two_threads", 1, two_threads<P>)->Threads(2);
  if constexpr (!std::is_same_v<P, ThreadPrivate>) {
    if constexpr (!std::is_same_v<P, Ours> && !std::is_same_v<P, OursLocal>) {
      add<P>("hand_over", 200000, hand_over<P>)->Threads(2);
    }
    benchmark::RegisterBenchmark((std::string("reachable/") + P::kName).c_str(), reachable<P>)
        ->Iterations(1);
  }
  add<P>("threads4", 1, crowd<P>)->Threads(4);
  add<P, kMaxEntries>("threads16", 1, crowd<P>)->Threads(16);
}

int run(int argc, char** argv) {
#ifdef MRPOOL_BENCH_DPDK
  const char* eal[] = {"pool_bench",     "--no-huge", "--no-shconf", "--no-pci",
                       "--no-telemetry", "-l",        "0",           "--log-level=error"};
  if (rte_eal_init(int(std::size(eal)), const_cast<char**>(eal)) < 0) {
    std::fprintf(stderr, "pool_bench: DPDK's EAL does not start: %s\n", rte_strerror(rte_errno));
    return 1;
  }
#endif
  add_all<Ours>();
  add_all<OursLocal>();
  add_all<ThreadPrivate>();
  benchmark::RegisterBenchmark("hand_over/in-turns", hand_over_in_turns)
      ->Setup([](const benchmark::State& state) {
        set_up<Ours, kEntries>(state);
        set_up<OursLocal, kEntries>(state);
        set_up<TwoRings, kEntries>(state);
      })
      ->Teardown([](const benchmark::State& state) {
        tear_down<Ours>(state);
        tear_down<OursLocal>(state);
        tear_down<TwoRings>(state);
      })
      ->Iterations(1)
      ->Threads(2)
      ->UseRealTime();
  add_all<KernelList>();
  add_all<FairKernelList>();
  add_all<MutexList>();
  add_all<BoostStack>();
#ifdef MRPOOL_BENCH_TBB
  add_all<TbbQueue>();
#endif
#ifdef MRPOOL_BENCH_MOODYCAMEL
  add_all<Moodycamel>();
#endif
#ifdef MRPOOL_BENCH_DPDK
  add_all<DpdkMempool<32>>();
  add_all<DpdkMempool<0>>();
  add_all<DpdkStack>();
#endif
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}

}  // namespace
}  // namespace mrpool::bench

int main(int argc, char** argv) { return mrpool::bench::run(argc, argv); }
