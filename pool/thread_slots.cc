#include "mrpool/internal/thread_slots.h"

#include <algorithm>
#include <array>
#include <mutex>
#include <utility>
#include <vector>

namespace mrpool::internal {

constinit thread_local PoolSlot* t_slots[kSlotLists + 1] = {};
constinit thread_local RecentSlot t_recent;

namespace {

struct Thread {
  PoolSlot** slots;  // its t_slots
  RecentSlot* recent;
};

struct Registry {
  std::mutex mutex;
  std::array<PoolFreeList*, kSlotLists> lists = {};
  std::vector<Thread> threads;  // those that have attached a slot
};

// Never destroyed: threads may end after the statics of the program.
Registry& registry() {
  static Registry* const instance = new Registry;
  return *instance;
}

// Lives in every thread that has attached a slot; its destructor gives the magazines back.
class ThreadEnd {
 public:
  ThreadEnd() { registry().threads.push_back({t_slots, &t_recent}); }  // under the registry's lock
  ~ThreadEnd() {
    const std::lock_guard lock(registry().mutex);
    for (uint32_t id = 0; id < kSlotLists; ++id) {
      PoolSlot* const slot = std::exchange(t_slots[id], nullptr);
      if (registry().lists[id] != nullptr) registry().lists[id]->detach(slot);
    }
    std::erase_if(registry().threads, [](const Thread& thread) { return thread.slots == t_slots; });
    t_recent.pool.store(0, std::memory_order_relaxed);
    ended = true;
  }
  // Destructors of other thread-locals may still return leases; they find no slot.
  static constinit thread_local bool ended;
};
constinit thread_local bool ThreadEnd::ended = false;

}  // namespace

uint32_t register_list(PoolFreeList& list) {
  const std::lock_guard lock(registry().mutex);
  const auto free = std::ranges::find(registry().lists, nullptr);
  if (free == registry().lists.end()) return kSlotLists;
  *free = &list;
  return uint32_t(free - registry().lists.begin());
}

void unregister_list(uint32_t id, uintptr_t pool) {
  if (id == kSlotLists) return;
  const std::lock_guard lock(registry().mutex);
  registry().lists[id] = nullptr;
  for (const Thread& thread : registry().threads) {
    thread.slots[id] = nullptr;
    // A compare-exchange: the thread may be turning to another pool.
    uintptr_t recent = pool;
    thread.recent->pool.compare_exchange_strong(recent, 0, std::memory_order_relaxed);
  }
}

void attach_this_thread(uint32_t id) {
  if (id == kSlotLists || ThreadEnd::ended || t_slots[id] != nullptr) return;
  const std::lock_guard lock(registry().mutex);
  thread_local ThreadEnd end;
  t_slots[id] = registry().lists[id]->attach();
}

}  // namespace mrpool::internal
