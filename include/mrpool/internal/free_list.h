// The free list of a pool: magazines in front of two stacks. Not API.
//
// A fixed array of magazines holds the free nodes. A thread that takes part owns up to two of them
// (its slot): gets and puts work on the current one, and an empty or full one is exchanged, as a
// whole, through the stacks `stocked_` and `vacant_`. Free nodes never move from one place to
// another, so no node is ever out of sight: whoever finds nothing in its own magazines and in the
// stacks walks the array and steals. Threads without a slot (more threads than slots, machines
// without membarrier) put to a third stack, `spill_`, from which everyone takes.
//
// Invariants:
//   F1  A node is in exactly one of: a lease, one magazine, the spill.
//   F2  A magazine is in exactly one of: a slot, one of the two stacks, the hands of a thread that
//       is moving it between these. Wherever it is, thieves reach its nodes.
//   F3  take_anywhere() returns null only if there was a moment during the call at which no
//       magazine and not the spill held a node: every place was seen empty and, behind a heavy
//       fence that made all finished puts visible, no put had been counted since before the first
//       look.
//   F4  A put publishes its node before it looks at hungry(); one that waits sets hungry() before
//       a heavy fence and take_anywhere(). One of the two sees the other.
//
// Progress: lock-free. Each retry is caused by another thread's finished get or put.
// Thread safety: a ThreadSlot belongs to its thread; the list: shared objects: safe.
#pragma once

#include <cstdint>
#include <memory>

#include "mrpool/internal/magazine.h"

namespace mrpool::internal {

// A stack of small integers below `kNil`, threaded through links that its user keeps. The head
// carries a 40-bit tag that every change advances, so that an unchanged head means that nothing
// happened in between (no ABA); links of indices on the stack do not change.
template <typename Platform>
class TaggedStack {
 public:
  static constexpr uint32_t kNil = (1u << 24) - 1;

  // `link(index)` is the Atomic<uint32_t> that holds the successor of `index`.
  template <typename Link>
  void push(uint32_t index, Link link) {
    uint64_t head = head_.load(std::memory_order_relaxed);
    do {
      link(index).store(uint32_t(head & kNil), std::memory_order_relaxed);
      // Release: hands over what the caller wrote before; pairs with pop()'s acquire.
    } while (!head_.compare_exchange_weak(head, (head & ~uint64_t{kNil}) + kTagOne + index,
                                          std::memory_order_acq_rel, std::memory_order_relaxed));
  }

  // kNil when empty.
  template <typename Link>
  uint32_t pop(Link link) {
    // Acquire: pairs with push()'s release, for the link read next and for the caller.
    uint64_t head = head_.load(std::memory_order_acquire);
    for (;;) {
      const uint32_t index = uint32_t(head & kNil);
      if (index == kNil) return kNil;
      // May read the link of an index that has left the stack; then the exchange fails.
      const uint32_t next = link(index).load(std::memory_order_relaxed);
      if (head_.compare_exchange_weak(head, (head & ~uint64_t{kNil}) + kTagOne + next,
                                      std::memory_order_acq_rel, std::memory_order_acquire)) {
        return index;
      }
    }
  }

  // Changes with every push and pop.
  uint64_t version() const { return head_.load(std::memory_order_acquire); }
  static uint32_t index_of(uint64_t version) { return uint32_t(version & kNil); }

 private:
  static constexpr uint64_t kTagOne = uint64_t{1} << 24;
  typename Platform::template Atomic<uint64_t> head_{kNil};
};

template <typename Platform>
struct ThreadSlot {
  Magazine<Platform>* current = nullptr;  // null: the thread has no slot in this list
  Magazine<Platform>* spare = nullptr;
};

template <typename Platform>
class FreeList {
 public:
  using Node = FreeNode<Platform>;
  using Slot = ThreadSlot<Platform>;
  static constexpr uint32_t kMaxNodes = TaggedStack<Platform>::kNil;

  // `nodes` (borrowed, all free) outlive the list. At most `max_threads` slots can be attached; 0
  // makes every operation use the spill.
  FreeList(Node* const* nodes, uint32_t count, uint32_t max_threads);

  // The fast path: null when the current magazine has nothing (then take() looks further).
  [[gnu::always_inline]] static Node* pop(Slot& slot) {
    return slot.current != nullptr ? slot.current->pop() : nullptr;
  }
  // The fast path: false when the node must go elsewhere (then give() does it).
  [[gnu::always_inline]] static bool push(Slot& slot, Node* node) {
    return slot.current != nullptr && slot.current->push(node);
  }
  // After a push or give, and after a light fence (F4): whether somebody waits.
  bool hungry() const { return hungry_.load(std::memory_order_relaxed); }
  void set_hungry(bool hungry) { hungry_.store(hungry, std::memory_order_seq_cst); }

  // A free node, wherever it is; null when there was none (F3).
  Node* take(Slot& slot);
  void give(Slot& slot, Node* node);

  // Gives `slot` magazines; false when all slots are taken.
  bool attach(Slot& slot);
  // Leaves the slot's magazines, nodes included, to the others.
  void detach(Slot& slot);
  bool may_attach() const { return attached_.load(std::memory_order_relaxed) < max_threads_; }

  void heavy_fence(const Slot& slot) const;

  // Exact when no call is under way.
  uint32_t free_count() const;
  uint64_t puts() const;

 private:
  using Mag = Magazine<Platform>;
  Node* take_from_stock(Slot& slot);
  Node* take_anywhere(Slot& slot);
  Mag* pop_magazine(TaggedStack<Platform>& stack);
  Mag* pop_vacant();
  void push_magazine(TaggedStack<Platform>& stack, Mag* magazine);
  void release(Mag* magazine);
  uint64_t magazine_puts() const;

  // Read by every fast path, written almost never.
  alignas(64) typename Platform::template Atomic<bool> hungry_{false};
  uint32_t max_threads_ = 0;
  uint32_t count_ = 0;
  uint32_t magazine_count_ = 0;
  Node* const* nodes_ = nullptr;
  std::unique_ptr<Mag[]> magazines_;

  // Written on slow paths, once in a magazine's operations.
  alignas(64) TaggedStack<Platform> stocked_;  // magazines that held nodes when they were listed
  TaggedStack<Platform> vacant_;               // magazines without nodes: none can appear there
  TaggedStack<Platform> spill_;                // nodes
  typename Platform::template Atomic<uint64_t> spill_puts_{0};
  typename Platform::template Atomic<uint32_t> attached_{0};
  typename Platform::template Atomic<uint32_t> used_magazines_{0};  // those above never held a node
};

}  // namespace mrpool::internal
