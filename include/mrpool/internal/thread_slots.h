// Where a thread keeps its slot of each pool's free list. Not API.
//
// A fixed thread-local table, indexed by a number that the list gets at creation, so that a get
// finds its magazine with one load. When a thread ends its slots are detached; when a list goes,
// every thread's slot of it is cleared. Both take one process-wide lock, and so does the first use
// of a pool by a thread; nothing else does.
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

// The entry behind the last is every further list's, and never attached.
[[gnu::tls_model("initial-exec")]] inline constinit thread_local PoolSlot t_slots[kSlotLists + 1];

// A number below kSlotLists, or kSlotLists when they are used up.
uint32_t register_list(PoolFreeList& list);
// No thread uses the list any more.
void unregister_list(uint32_t id);
// Attaches the calling thread's slot if it can be.
void attach_this_thread(uint32_t id);

// True where the kernel offers membarrier(PRIVATE_EXPEDITED). Without it no slot may be attached.
bool heavy_fence_available();

}  // namespace mrpool::internal
