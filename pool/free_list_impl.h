// The slow paths of FreeList. Included where they are instantiated: by free_list.cc for the
// machine, by tests for their own platform.
#pragma once

#include <algorithm>
#include <utility>

#include "mrpool/internal/free_list.h"

namespace mrpool::internal {

template <typename Platform>
FreeList<Platform>::FreeList(Node* const* nodes, uint32_t count, uint32_t max_threads)
    : max_threads_(max_threads), count_(count), nodes_(nodes) {
  for (uint32_t i = 0; i < count; ++i) nodes[i]->index = i;
  if (max_threads == 0) {
    for (uint32_t i = count; i-- > 0;) {
      overflow_.push(
          i, [&](uint32_t n) -> auto& { return nodes_[n]->next; });
    }
    return;
  }
  // A magazine holds at most an eighth of the list, so that a few threads cannot cache all of it.
  const uint32_t capacity = std::clamp<uint32_t>(count / 8, 4, Mag::kSlots);
  const uint32_t filled = (count + capacity - 1) / capacity;
  magazine_count_ = filled             // where all nodes are in magazines at the start
                    + 2 * max_threads  // each slot's current and spare one
                    + max_threads;     // one in a thread's hands, between slot and stack
  slots_ = std::make_unique<Slot[]>(max_threads);
  for (uint32_t s = max_threads; s-- > 0;) {
    idle_slots_.push(
        s, [&](uint32_t n) -> auto& { return slots_[n].next; });
  }
  magazines_ = std::make_unique<Mag[]>(magazine_count_);
  used_magazines_.store(filled, std::memory_order_relaxed);
  for (uint32_t m = magazine_count_; m-- > 0;) {
    const uint32_t begin = std::min(count, m * capacity);
    const uint32_t end = std::min(count, begin + capacity);
    magazines_[m].set_capacity(capacity);
    for (uint32_t i = end; i-- > begin;) magazines_[m].fill(nodes[i]);
    push_magazine(begin == end ? empty_ : full_, &magazines_[m]);
  }
}

// A magazine from a depot is in the cache of another thread. The prefetches load its lines at the
// same time; without them the next gets or puts would wait for one line after the other.
enum class Fetch : int { kToRead, kToWrite };
template <Fetch kHow, typename Mag>
// Inlined because g++ removes calls of a function that only prefetches.
[[gnu::always_inline]] inline void fetch_lines(const Mag* magazine) {
  constexpr size_t kLine = 64;
  const auto* const first = reinterpret_cast<const char*>(magazine);
  for (size_t at = 0; at < sizeof(Mag); at += kLine) __builtin_prefetch(first + at, int(kHow));
}

template <typename Platform>
auto FreeList<Platform>::pop_magazine(TaggedStack<Platform>& stack) -> Mag* {
  const uint32_t i = stack.pop([&](uint32_t n) -> auto& { return magazines_[n].next; });
  return i == kMaxNodes ? nullptr : &magazines_[i];
}

template <typename Platform>
void FreeList<Platform>::push_magazine(TaggedStack<Platform>& stack, Mag* magazine) {
  stack.push(
      uint32_t(magazine - magazines_.get()), [&](uint32_t n) -> auto& {
        return magazines_[n].next;
      });
}

// Raises `mark` to `needed`: thieves search everything below it from now on. Release: a thread that
// sees the count of a put sees the mark that the put raised. It reads the count first, with
// acquire.
template <typename Mark>
void raise_mark(Mark& mark, uint32_t needed) {
  uint32_t used = mark.load(std::memory_order_relaxed);
  while (used < needed && !mark.compare_exchange_weak(used, needed, std::memory_order_acq_rel,
                                                      std::memory_order_relaxed)) {
  }
}

// Takes an empty magazine, which is about to get nodes, and raises used_magazines_ for thieves.
template <typename Platform>
auto FreeList<Platform>::pop_empty() -> Mag* {
  Mag* const magazine = pop_magazine(empty_);
  if (magazine != nullptr) raise_mark(used_magazines_, uint32_t(magazine - magazines_.get()) + 1);
  return magazine;
}

template <typename Platform>
void FreeList<Platform>::release(Mag* magazine) {
  if (magazine != nullptr) push_magazine(magazine->size() > 0 ? full_ : empty_, magazine);
}

template <typename Platform>
auto FreeList<Platform>::attach() -> Slot* {
  uint32_t attached = attached_.load(std::memory_order_relaxed);
  do {
    if (attached >= max_threads_) return nullptr;
    // Sequentially consistent, before the first plain store to a slot or magazine: see
    // heavy_fence().
  } while (!attached_.compare_exchange_weak(attached, attached + 1, std::memory_order_seq_cst,
                                            std::memory_order_relaxed));
  // There are three magazines for each slot in addition to those filled at the start. `empty_` can
  // run out only where thieves have taken a part of the nodes of many magazines.
  Mag* current = pop_magazine(full_);
  Mag* spare = pop_empty();
  if (current == nullptr) current = pop_empty();
  if (current == nullptr) std::swap(current, spare);
  if (current == nullptr) {
    attached_.fetch_sub(1, std::memory_order_release);
    return nullptr;
  }
  // Not kNil: attached_ is raised before a slot is taken and lowered after it is returned.
  const uint32_t number = idle_slots_.pop([&](uint32_t n) -> auto& { return slots_[n].next; });
  raise_mark(used_slots_, number + 1);
  Slot& slot = slots_[number];
  slot.current = current;
  slot.spare = spare;
  return &slot;
}

template <typename Platform>
void FreeList<Platform>::detach(Slot* slot) {
  if (slot == nullptr) return;
  release(std::exchange(slot->current, nullptr));
  release(std::exchange(slot->spare, nullptr));
  idle_slots_.push(
      uint32_t(slot - slots_.get()), [&](uint32_t n) -> auto& { return slots_[n].next; });
  // Release: a thread that reads the lower count sees what this one wrote to its slot and
  // magazines.
  attached_.fetch_sub(1, std::memory_order_release);
}

// Only attached threads use plain stores. Where no other thread is attached, a full fence of this
// thread is enough. A thread that attaches after the load below sees what the caller wrote before
// the load (kLooking, `attention`) and does not change what the caller read before it (top_), by
// the modification order of attached_.
template <typename Platform>
void FreeList<Platform>::heavy_fence(const Slot* slot) const {
  const uint32_t self = slot != nullptr ? 1 : 0;
  if (attached_.load(std::memory_order_seq_cst) > self) {
    Platform::heavy_fence();
  } else {
    Platform::full_fence();
  }
}

template <typename Platform>
void FreeList<Platform>::set_has_waiters(bool waiting) {
  has_waiters_.store(waiting, std::memory_order_seq_cst);
  if (!waiting) return;  // each owner clears its own `attention`: check_waiters()
  for (uint32_t s = 0; s < max_threads_; ++s) {
    slots_[s].attention.store(true, std::memory_order_release);  // after has_waiters_: F5
  }
  Platform::full_fence();  // before heavy_fence() reads attached_
}

template <typename Platform>
bool FreeList<Platform>::check_waiters(Slot& slot) {
  slot.attention.store(false, std::memory_order_relaxed);
  Platform::full_fence();
  if (!has_waiters()) return false;
  slot.attention.store(true, std::memory_order_relaxed);
  return true;
}

template <typename Platform>
auto FreeList<Platform>::take(Slot* slot) -> Node* {
  if (slot != nullptr) {
    if (Node* node = take_from_depot(*slot)) return node;
  }
  return take_anywhere(slot);
}

template <typename Platform>
auto FreeList<Platform>::take_from_depot(Slot& slot) -> Node* {
  if (Node* node = pop(slot)) return node;
  if (slot.spare != nullptr) {
    if (Node* node = slot.spare->pop()) {
      std::swap(slot.current, slot.spare);
      return node;
    }
  }
  while (Mag* const magazine = pop_magazine(full_)) {
    fetch_lines<Fetch::kToRead>(magazine);
    if (Node* node = magazine->pop()) {
      release(slot.spare);
      slot.spare = slot.current;
      slot.current = magazine;
      return node;
    }
    push_magazine(empty_, magazine);  // thieves have emptied it
  }
  return nullptr;
}

template <typename Platform>
auto FreeList<Platform>::take_anywhere(const Slot* slot) -> Node* {
  const auto fence = [&] { heavy_fence(slot); };
  for (;;) {
    const uint64_t puts_before = slot_puts();
    const uint32_t single = overflow_.pop([&](uint32_t n) -> auto& { return nodes_[n]->next; });
    if (single != kMaxNodes) return nodes_[single];
    const uint64_t overflow_before = overflow_.version();
    if (overflow_.index_of(overflow_before) != kMaxNodes) continue;

    bool lost = false;
    const uint32_t magazines = used_magazines_.load(std::memory_order_acquire);
    for (uint32_t m = 0; m < magazines; ++m) {
      for (lost = true; lost && magazines_[m].size() > 0;) {
        if (Node* node = magazines_[m].steal(fence, lost)) return node;
      }
    }
    const uint32_t slots = used_slots_.load(std::memory_order_acquire);
    for (uint32_t s = 0; s < slots; ++s) {
      do {
        if (Node* node = slots_[s].hot.steal(fence, lost)) return node;
      } while (lost);
    }
    fence();  // F3: all puts that have finished are visible after it
    if (overflow_.version() == overflow_before && slot_puts() == puts_before) return nullptr;
  }
}

template <typename Platform>
void FreeList<Platform>::give(Slot* slot, Node* node) {
  if (slot != nullptr && push_to_magazine(*slot, node)) {
    Platform::count(slot->puts);
  } else {
    overflow_.push(
        node->index, [&](uint32_t n) -> auto& { return nodes_[n]->next; });
    overflow_puts_.fetch_add(1, std::memory_order_relaxed);  // statistics only
  }
  Platform::full_fence();  // F4: the caller reads has_waiters() afterwards
}

// Puts `node` in a magazine of the slot, which may be a new one. False: no magazine has space.
template <typename Platform>
bool FreeList<Platform>::push_to_magazine(Slot& slot, Node* node) {
  if (slot.current->push(node)) return true;
  if (slot.spare != nullptr && slot.spare->push(node)) {
    std::swap(slot.current, slot.spare);
    return true;
  }
  Mag* const magazine = pop_empty();
  if (magazine == nullptr) return false;
  fetch_lines<Fetch::kToWrite>(magazine);
  release(slot.spare);
  slot.spare = slot.current;
  slot.current = magazine;
  return magazine->push(node);  // succeeds: it was empty and is this thread's
}

template <typename Platform>
uint64_t FreeList<Platform>::slot_puts() const {
  uint64_t puts = 0;
  const uint32_t slots = used_slots_.load(std::memory_order_acquire);
  // Each term only grows, so equal sums mean equal terms.
  for (uint32_t s = 0; s < slots; ++s) puts += slots_[s].puts.load(std::memory_order_acquire);
  return puts;
}

template <typename Platform>
uint64_t FreeList<Platform>::puts() const {
  return slot_puts() + overflow_puts_.load(std::memory_order_relaxed);
}

}  // namespace mrpool::internal
