// Explores all executions of a few threads, store buffers included: a stateless model checker for
// code that is written against a Platform (mrpool/internal/platform.h).
//
// Memory is modelled as total store order: a store goes to its thread's buffer and reaches memory
// at any later time, in order; a load looks into its own thread's buffer first. A compare-exchange,
// an exchange-like (sequentially consistent) store and full_fence() wait until the thread's own
// buffer is empty. heavy_fence() waits for the buffers of all threads, one at a time, each at its
// own moment, like membarrier's interrupts. light_fence() does nothing.
//
// The search is exhaustive up to the order of independent actions (dynamic partial-order reduction
// with source sets and sleep sets): every execution that could end differently is run.
//
// Thread safety: one Explorer at a time, on one thread; the explored threads are fibers.
#pragma once

#include <setjmp.h>
#include <ucontext.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace mrpool::testing {

class Explorer {
 public:
  // One execution's threads and what must hold when they have ended. Created again for each
  // execution.
  struct Scenario {
    std::vector<std::function<void()>> threads;
    std::function<void()> check;
  };

  // kEvery runs every interleaving, to check that kReduced leaves out nothing that matters.
  enum class Search : uint8_t { kReduced, kEvery };

  // Runs executions until all are done, one fails, or `limit` is reached.
  void explore(const std::function<Scenario()>& make, uint64_t limit,
               Search search = Search::kReduced);

  bool failed() const { return !failure_.empty(); }
  const std::string& failure() const { return failure_; }
  bool exhausted() const { return exhausted_; }
  uint64_t executions() const { return executions_; }
  // What the executions' checks have recorded.
  const std::set<std::string>& outcomes() const { return outcomes_; }

  // From a scenario: this execution is wrong.
  static void fail(const std::string& what);
  // From a check: how this execution ended.
  static void record(const std::string& outcome);

  // For the model's atomics and fences.
  static constexpr int kMaxThreads = 4;
  static uint64_t load(const uint64_t* memory);
  static void store(uint64_t* memory, uint64_t value);
  static uint64_t update(uint64_t* memory, const std::function<uint64_t(uint64_t)>& change);
  static void fence();
  static void heavy_fence();

 private:
  // Actor t < kMaxThreads is thread t; kMaxThreads + t moves that thread's stores to memory.
  static constexpr int kActors = 2 * kMaxThreads;
  using Mask = uint32_t;
  using Clock = std::array<uint32_t, kActors>;

  struct Access {
    const void* address = nullptr;
    bool write = false;
  };
  struct Pending {
    Access access;
    int needs_empty = -1;  // the thread whose buffer must be empty before
  };
  struct Thread {
    ucontext_t context;  // where it begins
    jmp_buf stopped;
    bool begun = false;
    std::unique_ptr<char[]> stack;
    std::function<void()> body;
    Pending pending;
    bool ended = false;
    std::deque<std::pair<uint64_t*, uint64_t>> buffer;
    std::deque<Clock> buffer_clocks;  // of the pushes
  };
  struct State {
    Mask enabled = 0, backtrack = 0, done = 0, sleep = 0;
    int chosen = -1;
    std::array<Pending, kActors> pending;
  };
  struct Event {
    int actor;
    uint32_t sequence;
    Clock clock;
  };
  struct History {  // of one address in this execution
    int last_write = -1;
    std::vector<int> reads;
  };

  static Explorer* current_;
  static constexpr size_t kStackBytes = 64 << 10;

  static void enter();
  void yield(const Pending& pending);
  void resume(int thread);
  bool run_once(const std::function<Scenario()>& make);
  bool next_execution();
  Mask enabled() const;
  Pending pending_of(int actor) const;
  void perform(int actor);
  void note_race(int earlier, int actor, const Clock& clock);
  static bool dependent(const Pending& a, const Pending& b);

  std::vector<Thread> threads_;
  std::vector<State> states_;
  std::vector<Event> events_;
  std::array<Clock, kActors> clocks_;
  std::vector<std::pair<const void*, History>> histories_;
  jmp_buf scheduler_;
  int running_ = -1;
  std::array<char, kMaxThreads> buffer_address_;  // stand for the buffers as addresses
  uint64_t executions_ = 0;
  bool exhausted_ = false;
  Search search_ = Search::kReduced;
  std::set<std::string> outcomes_;
  std::string failure_;
};

// The platform of explored code.
struct ModelPlatform {
  template <typename T>
  class Atomic {
   public:
    constexpr Atomic(T value = {}) : memory_(pack(value)) {}  // NOLINT: as std::atomic's
    T load(std::memory_order = {}) const { return unpack(Explorer::load(&memory_)); }
    void store(T value, std::memory_order order = std::memory_order_seq_cst) {
      if (order == std::memory_order_seq_cst) {
        Explorer::update(&memory_, [&](uint64_t) { return pack(value); });
      } else {
        Explorer::store(&memory_, pack(value));
      }
    }
    bool compare_exchange_strong(T& expected, T desired, std::memory_order = {},
                                 std::memory_order = {}) {
      const uint64_t wanted = pack(expected);
      const uint64_t seen = Explorer::update(
          &memory_, [&](uint64_t value) { return value == wanted ? pack(desired) : value; });
      if (seen != wanted) expected = unpack(seen);
      return seen == wanted;
    }
    bool compare_exchange_weak(T& expected, T desired, std::memory_order a = {},
                               std::memory_order b = {}) {
      return compare_exchange_strong(expected, desired, a, b);
    }
    T fetch_add(T value, std::memory_order = {}) {
      return unpack(
          Explorer::update(&memory_, [&](uint64_t old) { return pack(T(unpack(old) + value)); }));
    }
    T fetch_sub(T value, std::memory_order = {}) { return fetch_add(T(0) - value); }

   private:
    static uint64_t pack(T value) {
      uint64_t word = 0;
      std::memcpy(&word, &value, sizeof value);
      return word;
    }
    static T unpack(uint64_t word) {
      T value;
      std::memcpy(&value, &word, sizeof value);
      return value;
    }
    uint64_t memory_;
  };

  static void light_fence() {}
  static void heavy_fence() { Explorer::heavy_fence(); }
  static void full_fence() { Explorer::fence(); }
  static void count(Atomic<uint64_t>& counter) {
    counter.store(counter.load(std::memory_order_relaxed) + 1, std::memory_order_release);
  }
};

}  // namespace mrpool::testing
