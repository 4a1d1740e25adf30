// Where a thread keeps its slot of each pool's free list. Not API.
//
// Each thread has a table of its slots, indexed by a number that the list gets at creation: a get
// finds its slot with one load. t_recent caches the slot that the thread used last. The end of a
// thread detaches its slots. The end of a list removes its slots from the tables of all threads.
// Both take one process-wide lock, as does the first use of a pool by a thread; nothing else does.
//
// Both variables are defined in the library, not inline. A program and the shared library that it
// links must use the same ones, even if the program is compiled with hidden visibility. A plugin
// that contains the static library has its own.
//
// Thread safety: t_slots and t_recent belong to their thread; the functions: any thread.
#pragma once

#include <atomic>
#include <cstdint>

#include "mrpool/internal/free_list.h"

namespace mrpool::internal {

using PoolFreeList = FreeList<MachinePlatform>;
using PoolSlot = ThreadSlot<MachinePlatform>;

// The number of lists that can have slots at the same time. Further lists use their overflow stack.
inline constexpr uint32_t kSlotLists = 128;

// Null: the thread has no slot. All further lists share the last place, which stays null.
[[gnu::tls_model("initial-exec"),
  gnu::visibility("default")]] extern constinit thread_local PoolSlot* t_slots[kSlotLists + 1];

// The slot that this thread used last and the address of its pool, or 0. The end of a pool clears
// its address in all threads, so that the next pool at that address is not mistaken for it.
//
// put() finds its slot here and not through the entry, so that the slot's address does not depend
// on the entry. Otherwise each get would wait for the address of the store that the put before it
// made (docs/internals/mr_pool.md, section 9).
struct RecentSlot {
  std::atomic<uintptr_t> pool{0};  // relaxed: the thread, and one that destroys the pool, write it
  PoolSlot* slot = nullptr;        // the thread's alone
};
[[gnu::tls_model("initial-exec"),
  gnu::visibility("default")]] extern constinit thread_local RecentSlot t_recent;
inline uintptr_t recent_pool() { return t_recent.pool.load(std::memory_order_relaxed); }

// A number below kSlotLists, or kSlotLists when they are used up.
uint32_t register_list(PoolFreeList& list);
// No thread uses the list, which belongs to the pool at address `pool`, any more.
void unregister_list(uint32_t id, uintptr_t pool);
// Attaches the calling thread's slot if it can be.
void attach_this_thread(uint32_t id);

// True where the kernel offers membarrier(PRIVATE_EXPEDITED). Without it no slot may be attached.
bool heavy_fence_available();

}  // namespace mrpool::internal
