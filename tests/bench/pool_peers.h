// The pools that MrPool is compared with, all with the same interface.
//
// A peer is a class P with
//   static constexpr const char* kName;
//   explicit P(uint32_t count);             // all `count` entries free
//   struct Local { explicit Local(P&); };   // what each thread that uses it needs
//   Item get(Local&);                       // falsy when it finds none
//   void put(Local&, Item);
// Each is used as its own documentation recommends for speed: moodycamel with tokens, DPDK's
// mempool with a cache that the thread owns, boost's stack with nodes allocated beforehand. All are
// forced inline, like ours, because the compiler does not inline all of them itself.
//
// Ownership: a peer owns its entries; destroy its Locals first.
// Thread safety: get and put: any thread, with a Local of its own.
#pragma once

#include <immintrin.h>
#include <sched.h>

#include <array>
#include <atomic>
#include <boost/lockfree/stack.hpp>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <vector>

#ifdef MRPOOL_BENCH_TBB
#include <tbb/concurrent_queue.h>
#endif
#ifdef MRPOOL_BENCH_MOODYCAMEL
#include <concurrentqueue/concurrentqueue.h>
#endif
#ifdef MRPOOL_BENCH_DPDK
#include <rte_errno.h>
#include <rte_mempool.h>
#include <rte_stack.h>
#endif

namespace mrpool::bench {

inline constexpr uint32_t kMaxEntries = 1024;

// What the peers hold: a cache line, as the first line of an MR's bookkeeping would be.
struct alignas(64) Item {
  Item* prev = nullptr;
  Item* next = nullptr;
};

// `object` is reachable from elsewhere, as far as the compiler knows: what is in it stays in
// memory.
template <typename T>
void escape(T& object) {
  asm volatile("" : : "r"(&object) : "memory");
}

// The floor: each thread has all entries to itself, on an array. Nothing can be cheaper and still
// be a pool.
class ThreadPrivate {
 public:
  static constexpr const char* kName = "thread-private";
  explicit ThreadPrivate(uint32_t count) : count_(count) {}
  struct Local {
    explicit Local(ThreadPrivate& pool) : items(pool.count_) {
      for (Item& item : items) free[used++] = &item;
      // Else the list would live in registers, which no list of a real program does. The other
      // peers have a pointer to theirs.
      escape(*this);
    }
    std::vector<Item> items;
    uint32_t used = 0;
    std::array<Item*, kMaxEntries> free;
  };
  [[gnu::always_inline]] Item* get(Local& local) {
    return local.used == 0 ? nullptr : local.free[--local.used];
  }
  [[gnu::always_inline]] void put(Local& local, Item* item) { local.free[local.used++] = item; }

 private:
  uint32_t count_;
};

class TestAndSetLock {
 public:
  void lock() {
    while (locked_.exchange(true, std::memory_order_acquire)) {
      while (locked_.load(std::memory_order_relaxed)) _mm_pause();
    }
  }
  void unlock() { locked_.store(false, std::memory_order_release); }

 private:
  std::atomic<bool> locked_{false};
};

// First come, first served, as the kernel's queued spinlock is: two threads in a loop take turns at
// every operation instead of one keeping the lock for a while.
class TicketLock {
 public:
  void lock() {
    const uint32_t mine = next_.fetch_add(1, std::memory_order_relaxed);
    for (uint32_t tries = 1; serving_.load(std::memory_order_acquire) != mine; ++tries) {
      // The kernel's holder is never preempted; here it may be.
      if (tries % 1024 == 0) {
        sched_yield();
      } else {
        _mm_pause();
      }
    }
  }
  void unlock() {
    serving_.store(serving_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
  }

 private:
  std::atomic<uint32_t> next_{0};
  std::atomic<uint32_t> serving_{0};
};

// A doubly linked list, newest first, under a lock. With a spinlock it is what the kernel's
// ib_mr_pool does.
template <typename Lock>
class LockedList {
 public:
  explicit LockedList(uint32_t count) : items_(count) {
    head_.prev = head_.next = &head_;
    for (Item& item : items_) link(&item);
  }
  struct Local {
    explicit Local(LockedList&) {}
  };
  [[gnu::always_inline]] Item* get(Local&) {
    const std::lock_guard guard(lock_);
    Item* const item = head_.next;
    if (item == &head_) return nullptr;
    item->prev->next = item->next;
    item->next->prev = item->prev;
    ++used_;
    return item;
  }
  [[gnu::always_inline]] void put(Local&, Item* item) {
    const std::lock_guard guard(lock_);
    link(item);
    --used_;
  }

 private:
  void link(Item* item) {
    item->next = head_.next;
    item->prev = &head_;
    head_.next->prev = item;
    head_.next = item;
  }
  alignas(64) Lock lock_;
  Item head_;
  uint32_t used_ = 0;
  std::vector<Item> items_;
};

struct KernelList : LockedList<TestAndSetLock> {
  static constexpr const char* kName = "kernel-list+spinlock";
  using LockedList::LockedList;
};
struct FairKernelList : LockedList<TicketLock> {
  static constexpr const char* kName = "kernel-list+fair-lock";
  using LockedList::LockedList;
};
struct MutexList : LockedList<std::mutex> {
  static constexpr const char* kName = "list+std::mutex";
  using LockedList::LockedList;
};

class BoostStack {
 public:
  static constexpr const char* kName = "boost::lockfree::stack";
  explicit BoostStack(uint32_t count) : items_(count) {
    for (Item& item : items_) stack_.push(&item);
  }
  struct Local {
    explicit Local(BoostStack&) {}
  };
  [[gnu::always_inline]] Item* get(Local&) {
    Item* item = nullptr;
    return stack_.pop(item) ? item : nullptr;
  }
  [[gnu::always_inline]] void put(Local&, Item* item) { stack_.push(item); }

 private:
  std::vector<Item> items_;
  boost::lockfree::stack<Item*, boost::lockfree::capacity<kMaxEntries>> stack_;
};

#ifdef MRPOOL_BENCH_TBB
class TbbQueue {
 public:
  static constexpr const char* kName = "tbb::concurrent_queue";
  explicit TbbQueue(uint32_t count) : items_(count) {
    for (Item& item : items_) queue_.push(&item);
  }
  struct Local {
    explicit Local(TbbQueue&) {}
  };
  [[gnu::always_inline]] Item* get(Local&) {
    Item* item = nullptr;
    return queue_.try_pop(item) ? item : nullptr;
  }
  [[gnu::always_inline]] void put(Local&, Item* item) { queue_.push(item); }

 private:
  std::vector<Item> items_;
  tbb::concurrent_queue<Item*> queue_;
};
#endif

#ifdef MRPOOL_BENCH_MOODYCAMEL
class Moodycamel {
 public:
  static constexpr const char* kName = "moodycamel+token";
  explicit Moodycamel(uint32_t count) : items_(count), queue_(count) {
    for (Item& item : items_) queue_.enqueue(&item);
  }
  struct Local {
    explicit Local(Moodycamel& pool) : producer(pool.queue_), consumer(pool.queue_) {}
    moodycamel::ProducerToken producer;
    moodycamel::ConsumerToken consumer;
  };
  [[gnu::always_inline]] Item* get(Local& local) {
    Item* item = nullptr;
    return queue_.try_dequeue(local.consumer, item) ? item : nullptr;
  }
  [[gnu::always_inline]] void put(Local& local, Item* item) {
    queue_.enqueue(local.producer, item);
  }

 private:
  std::vector<Item> items_;
  moodycamel::ConcurrentQueue<Item*> queue_;
};
#endif

#ifdef MRPOOL_BENCH_DPDK
inline void dpdk_check(bool ok, const char* what) {
  if (ok) return;
  std::fprintf(stderr, "pool_bench: %s: %s\n", what, rte_strerror(rte_errno));
  std::exit(1);
}

// rte_mempool on its default rte_ring; `kCache` entries are kept by each thread.
template <unsigned kCache>
class DpdkMempool {
 public:
  static constexpr const char* kName = kCache > 0 ? "dpdk-mempool+cache" : "dpdk-mempool";
  // A ring holds one less than a power of two; a mempool takes any count.
  explicit DpdkMempool(uint32_t count)
      : pool_(rte_mempool_create("bench", count, sizeof(Item), 0, 0, nullptr, nullptr, nullptr,
                                 nullptr, SOCKET_ID_ANY, 0)) {
    dpdk_check(pool_ != nullptr, "rte_mempool_create");
  }
  ~DpdkMempool() { rte_mempool_free(pool_); }
  struct Local {
    explicit Local(DpdkMempool& owner) : pool(owner.pool_) {
      if (kCache == 0) return;
      cache = rte_mempool_cache_create(kCache, SOCKET_ID_ANY);
      dpdk_check(cache != nullptr, "rte_mempool_cache_create");
    }
    ~Local() {
      if (cache == nullptr) return;
      rte_mempool_cache_flush(cache, pool);
      rte_mempool_cache_free(cache);
    }
    Local(const Local&) = delete;
    Local& operator=(const Local&) = delete;
    rte_mempool* pool;
    rte_mempool_cache* cache = nullptr;
  };
  [[gnu::always_inline]] Item* get(Local& local) {
    void* item = nullptr;
    return rte_mempool_generic_get(pool_, &item, 1, local.cache) == 0 ? static_cast<Item*>(item)
                                                                      : nullptr;
  }
  [[gnu::always_inline]] void put(Local& local, Item* item) {
    void* object = item;
    rte_mempool_generic_put(pool_, &object, 1, local.cache);
  }

 private:
  rte_mempool* pool_;
};

class DpdkStack {
 public:
  static constexpr const char* kName = "dpdk-stack";
  explicit DpdkStack(uint32_t count)
      : items_(count), stack_(rte_stack_create("bench", count, SOCKET_ID_ANY, RTE_STACK_F_LF)) {
    dpdk_check(stack_ != nullptr, "rte_stack_create");
    for (Item& item : items_) {
      void* object = &item;
      rte_stack_push(stack_, &object, 1);
    }
  }
  ~DpdkStack() { rte_stack_free(stack_); }
  struct Local {
    explicit Local(DpdkStack&) {}
  };
  [[gnu::always_inline]] Item* get(Local&) {
    void* item = nullptr;
    return rte_stack_pop(stack_, &item, 1) == 1 ? static_cast<Item*>(item) : nullptr;
  }
  [[gnu::always_inline]] void put(Local&, Item* item) {
    void* object = item;
    rte_stack_push(stack_, &object, 1);
  }

 private:
  std::vector<Item> items_;
  rte_stack* stack_;
};
#endif

}  // namespace mrpool::bench
