// The inside of an MrPool: get, put, waiters and repair (mr_pool.cc), and MRs that come and go
// (mr_pool_supply.cc).
//
// Thread safety: as MrPool; the mutexes and atomics guard what follows them.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <vector>

#include "mrpool/internal/mr_supplier.h"
#include "mrpool/mr_pool.h"

namespace mrpool {

class MrPool::Impl {
 public:
  explicit Impl(Pd& pd, const MrPoolOptions& options) : pd(pd), options(options) {}

  FastMrOptions mr_options() const {
    return {.max_segments = options.max_segments,
            .sg_gaps = options.type == MrPoolType::kSgGaps,
            .ceiling = options.access,
            .integrity = options.integrity};
  }
  auto& link(uint32_t index) { return entries[index].next; }

  // The calling thread's slot, attached if it can be; null without.
  static internal::PoolSlot* slot_of(const MrPool& pool) {
    if (internal::t_slots[pool.slot_id_] == nullptr && pool.free_.may_attach()) {
      internal::attach_this_thread(pool.slot_id_);
    }
    return pool.recall_slot();
  }

  Pd& pd;
  const MrPoolOptions options;
  Granted granted;
  std::vector<Entry> entries;
  std::vector<internal::PoolFreeList::Node*> nodes;

  std::atomic<uint64_t> exhaustions = 0;
  std::atomic<uint64_t> waits = 0;
  std::atomic<uint64_t> wait_ns = 0;

  std::mutex waiters_mutex;
  Waiter* first_waiter = nullptr;
  Waiter* last_waiter = nullptr;

  std::mutex repair_mutex;
  internal::TaggedStack<internal::MachinePlatform> broken;  // entries to repair
  std::atomic<uint32_t> in_repair = 0;                      // on `broken` or being renewed
  std::atomic<uint64_t> repairs = 0;
  std::atomic<uint64_t> put_to_repair = 0;

  // Of pools whose MRs come and go (mr_pool_supply.cc).
  internal::MrSupplier* supplier = nullptr;
  std::mutex hollow_mutex;
  std::vector<Entry*> hollow;              // entries without an MR
  std::atomic<uint32_t> hollow_count = 0;  // their number, for stats()
  std::atomic<uint64_t> filled = 0;        // times one got an MR
  std::atomic<uint64_t> dropped = 0;       // leases that ended without a return
  std::atomic<uint32_t> high_water = 0;    // before entries were last marked as fresh
};

}  // namespace mrpool
