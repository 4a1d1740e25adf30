// The inline part of MrPool: entries, get and put. mrpool/mr_pool.h includes it at its end.
//
// The fast path is a few plain loads and stores. A call would cost more than the rest of it, and
// gcc does not inline it by itself because of the calls of the slow paths.
//
// Thread safety: as MrPool.
#pragma once

#include "mrpool/internal/thread_sanitizer.h"
#include "mrpool/mr_pool.h"

namespace mrpool {

// One MR of a pool. The thread that holds the lease writes it when a key is made or ends. Get and
// put only read it, so an entry that is passed between threads stays in the caches of both.
struct alignas(64) MrPool::Entry : internal::FreeNode<internal::MachinePlatform> {
  // The phase of the lease or, while the entry is free, the one in which the next lease begins.
  // kFresh: as kLeased, and no lease of the entry has ended yet. kMapped: leased, and mapped by
  // this lease; so is kInvalidated. kRepair: not leased; the key may be live. kHollow: not leased;
  // the entry has no MR.
  enum class Phase : uint8_t {
    kLeased,
    kFresh,
    kMapped,
    kInvalidated,
    kRegistered,
    kRepair,
    kHollow
  };

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

  // The pool's address plus the phase, which fits in the bits that are zero by the alignment of the
  // address. kLeased is 0, so put() compares the word with the address. Atomic: stats() reads it.
  std::atomic<uintptr_t> home_and_phase{uintptr_t(Phase::kFresh)};
  Phase before_register{};  // the phase that not_posted() restores
  std::unique_ptr<FastMr> mr;
  SourceLocation where;  // of the get; set in debug builds only
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

// Finds the slot through t_recent, not through the entry; RecentSlot has the reason.
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
  // After push(): either get(Waiter) sees this entry, or this thread sees the waiter (F4).
  if (internal::PoolFreeList::disturbed(slot)) [[unlikely]]
    entry.pool()->answer_attention(slot);
}

// A slot is in its thread's table until the thread or the pool ends.
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
