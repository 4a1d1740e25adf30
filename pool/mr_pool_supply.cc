// MRs that are added to an MrPool and removed from it, for KeyedPools.
//
// All entries exist from the start, as many as the pool may ever have. An entry without an MR is
// hollow. A hollow entry is in no list that get() searches, so get and put do not meet it. Only the
// thread that holds an entry makes it hollow: thin_out() takes it as a lease does, drop() has the
// lease.
//
// The phase kFresh marks unused entries. count_unused() marks all free entries as fresh, and the
// end of a lease removes the mark. An entry that is leased while it is marked may be counted as
// unused once; then it is in use, and not free.
//
// Locks: hollow_mutex guards the list of hollow entries; no other lock is taken under it.
#include <algorithm>
#include <utility>

#include "pool/mr_pool_impl.h"

namespace mrpool {

using internal::t_slots;
using Phase = MrPool::Entry::Phase;

absl::Status MrPool::fill(uint32_t count, uint32_t& made) {
  const FastMrOptions mr_options = impl_->mr_options();
  for (made = 0; made < count; ++made) {
    Entry* entry = nullptr;
    {
      const std::lock_guard lock(impl_->hollow_mutex);
      if (impl_->hollow.empty()) return absl::OkStatus();
      entry = impl_->hollow.back();
      impl_->hollow.pop_back();
    }
    absl::StatusOr<std::unique_ptr<FastMr>> mr = impl_->pd.alloc_fast_mr(mr_options);
    if (!mr.ok()) {
      const std::lock_guard lock(impl_->hollow_mutex);
      impl_->hollow.push_back(entry);
      return mr.status();
    }
    entry->mr = *std::move(mr);
    entry->set(this, Phase::kFresh);
    impl_->hollow_count.fetch_sub(1, std::memory_order_relaxed);
    impl_->filled.fetch_add(1, std::memory_order_relaxed);
    put_slow(*entry);
  }
  return absl::OkStatus();
}

uint32_t MrPool::thin_out(uint32_t count) {
  uint32_t destroyed = 0;
  for (; destroyed < count && !free_.has_waiters(); ++destroyed) {
    auto* const entry = static_cast<Entry*>(free_.take(t_slots[slot_id_]));
    if (entry == nullptr) break;
    hollow_out(*entry);
  }
  // Who began to wait meanwhile may have looked while the last one was in this thread's hands: it
  // is gone now, and supply() makes another.
  return destroyed;
}

void MrPool::hollow_out(Entry& entry) {
  entry.mr.reset();
  entry.set(this, Phase::kHollow);
  impl_->hollow_count.fetch_add(1, std::memory_order_relaxed);
  const std::lock_guard lock(impl_->hollow_mutex);
  impl_->hollow.push_back(&entry);
}

MrPool& MrPool::home_of(const Lease& lease) { return *lease.entry().pool(); }

void MrPool::destroy(Lease&& lease) {
  Entry& entry = lease.entry();
  lease.entry_ = nullptr;
  MrPool& pool = *entry.pool();
  pool.impl_->dropped.fetch_add(1, std::memory_order_relaxed);
  pool.hollow_out(entry);
}

uint32_t MrPool::count_unused() {
  const uint32_t high_water = stats().high_water;
  uint32_t unused = 0;
  free_.for_each_free([&](internal::PoolFreeList::Node* node) {
    auto* const entry = static_cast<Entry*>(node);
    if (entry->phase() == Phase::kFresh) {
      ++unused;
      return;
    }
    // Fails where the entry has been leased and its key made meanwhile.
    uintptr_t used = reinterpret_cast<uintptr_t>(this) + uintptr_t(Phase::kLeased);
    entry->home_and_phase.compare_exchange_strong(
        used, reinterpret_cast<uintptr_t>(this) + uintptr_t(Phase::kFresh),
        std::memory_order_relaxed);
  });
  impl_->high_water.store(high_water, std::memory_order_relaxed);
  return unused;
}

}  // namespace mrpool
