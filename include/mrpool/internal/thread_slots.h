// Where a thread keeps its slot of each pool's free list. Not API.
//
// A fixed thread-local table, indexed by a number that the list gets at creation, so that a get
// finds its slot with one load; and, in front of it, the slot that the thread used last. When a
// thread ends its slots are detached; when a list goes, every thread forgets its slot of it. Both
// take one process-wide lock, and so does the first use of a pool by a thread; nothing else does.
//
// Both tables are the library's and not inline variables: a program and the shared library it links
// have to see the same ones, whatever the visibility the program is compiled with, and a plugin
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

// Lists that can have slots at the same time; further ones work without (they use their spill).
inline constexpr uint32_t kSlotLists = 128;

// Null where the thread has none. The place behind the last is every further list's, and never
// attached.
[[gnu::tls_model("initial-exec"),
  gnu::visibility("default")]] extern constinit thread_local PoolSlot* t_slots[kSlotLists + 1];

// The slot that this thread used last, and the address of its pool; 0 when there is none. A pool
// that goes takes its address out of every thread's, so that it is never taken for the next pool's
// at that address. A return finds its slot here, and not through the entry, so that the slot's
// address does not depend on the entry: else each get, which loads the entry that the last return
// has stored, would wait until the processor knew where that store went, or guess and be sent back
// (docs/mr_pool.md, section 9).
struct RecentSlot {
  std::atomic<uintptr_t> pool{0};  // relaxed: written by the thread, and by who destroys that pool
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
