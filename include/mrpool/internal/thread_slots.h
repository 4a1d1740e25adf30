// Where a thread keeps its slot of each pool's free list. Not API.
//
// A fixed thread-local table, indexed by a number that the list gets at creation, so that a get
// finds its slot with one load; and, in front of it, the slot that the thread used last. When a
// thread ends its slots are detached; when a list goes, every thread's slot of it is cleared. Both
// take one process-wide lock, and so does the first use of a pool by a thread; nothing else does.
//
// Thread safety: t_slots belongs to its thread; the functions: any thread.
#pragma once

#include <cstdint>

#include "mrpool/internal/free_list.h"

namespace mrpool::internal {

using PoolFreeList = FreeList<MachinePlatform>;
using PoolSlot = ThreadSlot<MachinePlatform>;

// Lists that can have slots at the same time; further ones work without (they use their spill).
inline constexpr uint32_t kSlotLists = 128;

// Null where the thread has none. The place behind the last is every further list's, and never
// attached.
[[gnu::tls_model(
    "initial-exec")]] inline constinit thread_local PoolSlot* t_slots[kSlotLists + 1] = {};

// The slot that this thread used last, and the serial number of its list, which no other list ever
// has: what stays behind when the list goes is never taken for another's. A return finds its slot
// here, and not through the entry, so that the slot's address does not depend on the entry: else
// each get, which loads the entry that the last return has stored, would wait until the processor
// knew where that store went, or guess and be sent back (docs/mr_pool.md, section 8).
struct RecentSlot {
  uint64_t serial = 0;
  PoolSlot* slot = nullptr;
};
[[gnu::tls_model("initial-exec")]] inline constinit thread_local RecentSlot t_recent;

// A number below kSlotLists, or kSlotLists when they are used up.
uint32_t register_list(PoolFreeList& list);
// No thread uses the list any more.
void unregister_list(uint32_t id);
// Attaches the calling thread's slot if it can be.
void attach_this_thread(uint32_t id);

// True where the kernel offers membarrier(PRIVATE_EXPEDITED). Without it no slot may be attached.
bool heavy_fence_available();

}  // namespace mrpool::internal
