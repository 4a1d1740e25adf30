// FreeList's slow paths. Included where they are instantiated: by free_list.cc for the machine, by
// tests for a platform of their own.
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
      spill_.push(
          i, [&](uint32_t n) -> auto& { return nodes_[n]->next; });
    }
    return;
  }
  // A magazine holds an eighth of the list at most, so that a few threads cannot hold it all.
  const uint32_t capacity = std::clamp<uint32_t>(count / 8, 4, Mag::kSlots);
  const uint32_t filled = (count + capacity - 1) / capacity;
  magazine_count_ = filled             // where all nodes are in magazines at the start
                    + 2 * max_threads  // each slot's current and spare one
                    + max_threads;     // one in a thread's hands, between slot and stack
  magazines_ = std::make_unique<Mag[]>(magazine_count_);
  used_magazines_.store(filled, std::memory_order_relaxed);
  for (uint32_t m = magazine_count_; m-- > 0;) {
    const uint32_t begin = std::min(count, m * capacity);
    const uint32_t end = std::min(count, begin + capacity);
    magazines_[m].set_capacity(capacity);
    for (uint32_t i = end; i-- > begin;) magazines_[m].fill(nodes[i]);
    push_magazine(begin == end ? vacant_ : stocked_, &magazines_[m]);
  }
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

// A vacant magazine that is about to get nodes; thieves look at it from now on.
template <typename Platform>
auto FreeList<Platform>::pop_vacant() -> Mag* {
  Mag* const magazine = pop_magazine(vacant_);
  if (magazine == nullptr) return nullptr;
  const uint32_t needed = uint32_t(magazine - magazines_.get()) + 1;
  uint32_t used = used_magazines_.load(std::memory_order_relaxed);
  // Release: with M4, who sees a put into it counted sees that it is in use.
  while (used < needed && !used_magazines_.compare_exchange_weak(
                              used, needed, std::memory_order_acq_rel, std::memory_order_relaxed)) {
  }
  return magazine;
}

template <typename Platform>
void FreeList<Platform>::release(Mag* magazine) {
  if (magazine != nullptr) push_magazine(magazine->size() > 0 ? stocked_ : vacant_, magazine);
}

template <typename Platform>
bool FreeList<Platform>::attach(Slot& slot) {
  uint32_t attached = attached_.load(std::memory_order_relaxed);
  do {
    if (attached >= max_threads_) return false;
    // Sequentially consistent, before the first plain store to a magazine: see heavy_fence().
  } while (!attached_.compare_exchange_weak(attached, attached + 1, std::memory_order_seq_cst,
                                            std::memory_order_relaxed));
  // There are three magazines for each slot besides those filled at the start. Only if thieves have
  // thinned out many stocked ones can the vacant ones run short.
  Mag* const stocked = pop_magazine(stocked_);
  slot.spare = pop_vacant();
  slot.current = stocked != nullptr ? stocked : pop_vacant();
  if (slot.current == nullptr) std::swap(slot.current, slot.spare);
  if (slot.current != nullptr) return true;
  attached_.fetch_sub(1, std::memory_order_release);
  return false;
}

template <typename Platform>
void FreeList<Platform>::detach(Slot& slot) {
  if (slot.current == nullptr) return;
  release(slot.current);
  release(slot.spare);
  slot = {};
  // Release: who reads the lower count sees everything this thread did to its magazines.
  attached_.fetch_sub(1, std::memory_order_release);
}

// Nobody but an attached thread works on a magazine with plain stores, so without another one an
// ordinary fence does. A thread that attaches after the load below does so (in the order of
// attached_) after the read of top_ that came before the load: its pops see that top_.
template <typename Platform>
void FreeList<Platform>::heavy_fence(const Slot& slot) const {
  const uint32_t self = slot.current != nullptr ? 1 : 0;
  if (attached_.load(std::memory_order_seq_cst) > self) {
    Platform::heavy_fence();
  } else {
    Platform::full_fence();
  }
}

template <typename Platform>
auto FreeList<Platform>::take(Slot& slot) -> Node* {
  if (slot.current != nullptr) {
    if (Node* node = take_from_stock(slot)) return node;
  }
  return take_anywhere(slot);
}

template <typename Platform>
auto FreeList<Platform>::take_from_stock(Slot& slot) -> Node* {
  if (Node* node = slot.current->pop()) return node;
  if (slot.spare != nullptr) {
    if (Node* node = slot.spare->pop()) {
      std::swap(slot.current, slot.spare);
      return node;
    }
  }
  while (Mag* const magazine = pop_magazine(stocked_)) {
    if (Node* node = magazine->pop()) {
      release(slot.spare);
      slot.spare = slot.current;
      slot.current = magazine;
      return node;
    }
    push_magazine(vacant_, magazine);  // thieves had emptied it
  }
  return nullptr;
}

template <typename Platform>
auto FreeList<Platform>::take_anywhere(Slot& slot) -> Node* {
  for (;;) {
    const uint64_t puts_before = magazine_puts();
    const uint32_t spilled = spill_.pop([&](uint32_t n) -> auto& { return nodes_[n]->next; });
    if (spilled != kMaxNodes) return nodes_[spilled];
    const uint64_t spill_before = spill_.version();
    if (spill_.index_of(spill_before) != kMaxNodes) continue;

    const uint32_t used = used_magazines_.load(std::memory_order_acquire);
    for (uint32_t m = 0; m < used; ++m) {
      for (bool lost = true; lost && magazines_[m].size() > 0;) {
        if (Node* node = magazines_[m].steal([&] { heavy_fence(slot); }, lost)) return node;
      }
    }
    heavy_fence(slot);  // F3: all puts that have finished by now are visible behind it
    if (spill_.version() == spill_before && magazine_puts() == puts_before) return nullptr;
  }
}

template <typename Platform>
void FreeList<Platform>::give(Slot& slot, Node* node) {
  if (slot.current != nullptr) {
    if (slot.current->push(node)) return;
    if (slot.spare != nullptr && slot.spare->push(node)) {
      std::swap(slot.current, slot.spare);
      return;
    }
    if (Mag* const magazine = pop_vacant()) {
      release(slot.spare);
      slot.spare = slot.current;
      slot.current = magazine;
      magazine->push(node);  // succeeds: it was empty and is ours
      return;
    }
  }
  spill_.push(
      node->index, [&](uint32_t n) -> auto& { return nodes_[n]->next; });
  spill_puts_.fetch_add(1, std::memory_order_relaxed);  // statistics only
  Platform::full_fence();                               // F4, where no heavy fence is used
}

template <typename Platform>
uint64_t FreeList<Platform>::magazine_puts() const {
  uint64_t puts = 0;
  const uint32_t used = used_magazines_.load(std::memory_order_acquire);
  // Each term only grows: equal sums mean equal terms.
  for (uint32_t m = 0; m < used; ++m) puts += magazines_[m].puts();
  return puts;
}

template <typename Platform>
uint64_t FreeList<Platform>::puts() const {
  return magazine_puts() + spill_puts_.load(std::memory_order_relaxed);
}

template <typename Platform>
uint32_t FreeList<Platform>::free_count() const {
  uint64_t free = 0;
  const uint32_t used = used_magazines_.load(std::memory_order_acquire);
  for (uint32_t m = 0; m < used; ++m) free += uint64_t(magazines_[m].size());
  uint32_t i = spill_.index_of(spill_.version());
  // Bounded: a list that changes underfoot may lead round in circles.
  for (uint32_t steps = 0; i != kMaxNodes && steps < count_; ++steps) {
    ++free;
    i = nodes_[i]->next.load(std::memory_order_relaxed);
  }
  return uint32_t(std::min<uint64_t>(free, count_));
}

}  // namespace mrpool::internal
