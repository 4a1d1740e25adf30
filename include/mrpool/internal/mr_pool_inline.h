// The inlined part of MrPool: entries, get and put. Included by mrpool/mr_pool.h, at its end.
//
// The fast path is a handful of plain loads and stores. It is forced inline because gcc's estimate
// stops at the calls of the slow paths, and a call costs more than all the rest.
//
// Thread safety: as MrPool.
#pragma once

#include "mrpool/internal/thread_sanitizer.h"
#include "mrpool/mr_pool.h"

namespace mrpool {

// One MR of a pool. Written by the thread that holds its lease, and only when a key is made or
// ends: get and put read it, so that an entry that travels between threads stays in both caches.
struct alignas(64) MrPool::Entry : internal::FreeNode<internal::MachinePlatform> {
  // What the lease is in, or the next one begins in. kFresh: as kLeased, and no lease has ended
  // yet. kRepair: the key may be live and nobody holds the entry.
  // kHollow: it has no MR, and nobody holds it.
  enum class Phase : uint8_t { kLeased, kFresh, kInvalidated, kRegistered, kRepair, kHollow };

  static constexpr uintptr_t kPhases = 8;  // at least; a power of two

  Phase phase() const { return Phase(home_and_phase.load(std::memory_order_relaxed) % kPhases); }
  MrPool* pool() const {
    const uintptr_t word = home_and_phase.load(std::memory_order_relaxed);
    return reinterpret_cast<MrPool*>(word - word % kPhases);
  }
  void set(const MrPool* pool, Phase phase) {
    home_and_phase.store(reinterpret_cast<uintptr_t>(pool) + uintptr_t(phase),
                         std::memory_order_relaxed);
  }

  // The pool's address and, in the bits that its alignment leaves, the phase: while the entry is
  // leased and its key dead, the address. Atomic because stats() looks at it too.
  std::atomic<uintptr_t> home_and_phase{uintptr_t(Phase::kFresh)};
  Phase before_register{};  // where not_posted() goes back to
  std::unique_ptr<FastMr> mr;
  SourceLocation where;  // of the get; kept up to date in debug builds
};
static_assert(alignof(MrPool) >= MrPool::Entry::kPhases);

[[gnu::always_inline]] inline void MrPool::begin_lease([[maybe_unused]] Entry& entry,
                                                       [[maybe_unused]] SourceLocation where) {
#ifndef NDEBUG
  entry.where = where;
#endif
}

[[gnu::always_inline]] inline MrPool::Entry* MrPool::take(SourceLocation where) {
  internal::PoolSlot* slot = internal::t_recent.slot;
  if (internal::recent_pool() != reinterpret_cast<uintptr_t>(this)) [[unlikely]] {
    slot = recall_slot();
    if (slot == nullptr) return get_slow(where);
  }
  return take_from(*slot, where);
}

[[gnu::always_inline]] inline MrPool::Entry* MrPool::take_from(internal::PoolSlot& slot,
                                                               SourceLocation where) {
  auto* const entry = static_cast<Entry*>(internal::PoolFreeList::pop(slot));
  if (entry == nullptr) [[unlikely]]
    return get_slow(where);
  begin_lease(*entry, where);
  return entry;
}

[[gnu::always_inline]] inline MrPool::Lease MrPool::get(SourceLocation where) {
  if constexpr (internal::kDeclareOrder) return Lease(get_elsewhere(where));
  return Lease(take(where));
}

// The slot is found through t_recent and not through the entry: see there.
[[gnu::always_inline]] inline void MrPool::put(Entry& entry) {
  internal::declare_released(&entry);
  if constexpr (internal::kDeclareOrder) return put_elsewhere(entry);
  if (entry.home_and_phase.load(std::memory_order_relaxed) != internal::recent_pool()) [[unlikely]]
    return put_elsewhere(entry);
  put_into(*internal::t_recent.slot, entry);
}

[[gnu::always_inline]] inline void MrPool::put_into(internal::PoolSlot& slot, Entry& entry) {
  if (!internal::PoolFreeList::push(slot, &entry)) [[unlikely]]
    return put_slow(entry);
  // Behind push(): the get(Waiter) that disturbs sees this entry, or this sees that it waits.
  if (internal::PoolFreeList::disturbed(slot)) [[unlikely]]
    entry.pool()->answer_attention(slot);
}

// A slot is its thread's until the thread or the pool ends, and then leaves the thread's table.
[[gnu::always_inline]] inline bool MrPool::Local::here() const {
  return internal::t_slots[slot_id_] == slot_;
}

[[gnu::always_inline]] inline MrPool::Lease MrPool::Local::get(SourceLocation where) const {
  if (internal::kDeclareOrder || !here()) [[unlikely]]
    return Lease(pool_->get_elsewhere(where));
  return Lease(pool_->take_from(*slot_, where));
}

[[gnu::always_inline]] inline void MrPool::Local::put(Lease&& lease) const noexcept {
  if (lease.entry_ == nullptr) return;
  if constexpr (internal::kDeclareOrder) return lease.reset();
  Entry& entry = *lease.entry_;
  lease.entry_ = nullptr;
  const uintptr_t pool = reinterpret_cast<uintptr_t>(pool_);
  if (entry.home_and_phase.load(std::memory_order_relaxed) != pool) [[unlikely]]
    return put_elsewhere(entry);
  if (!here()) [[unlikely]]
    return put_elsewhere(entry);
  put_into(*slot_, entry);
}

[[gnu::always_inline]] inline void MrPool::Lease::reset() {
  if (entry_ != nullptr) {
    Entry* const entry = entry_;
    entry_ = nullptr;
    put(*entry);
  }
}

inline FastMr& MrPool::Lease::mr() const {
  internal::declare_acquired(&entry());
  return *entry().mr;
}

inline MrPool::State MrPool::Lease::state() const {
  switch (entry().phase()) {
    case Entry::Phase::kRegistered:
      return State::kRegistered;
    case Entry::Phase::kInvalidated:
      return State::kInvalidated;
    default:
      return State::kLeased;
  }
}

}  // namespace mrpool
