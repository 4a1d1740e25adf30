// The free list of a pool: magazines in front of two stacks. Not API.
//
// A fixed array of magazines holds the free nodes. A thread that takes part owns a slot: a hot slot
// for one node, and up to two magazines behind it. Gets and puts work on the hot slot, else on the
// current magazine; an empty or full one is exchanged, as a whole, through the stacks `stocked_`
// and `vacant_`. Free nodes never move from one place to another, so no node is ever out of sight:
// whoever finds nothing in its own slot and in the stacks walks the arrays and steals. Threads
// without a slot (more threads than slots, machines without membarrier) put to a third stack,
// `spill_`, from which everyone takes.
//
// Invariants:
//   F1  A node is in exactly one of: a lease, one hot slot, one magazine, the spill.
//   F2  A magazine is in exactly one of: a slot, one of the two stacks, the hands of a thread that
//       is moving it between these. Wherever it is, thieves reach its nodes.
//   F3  take_anywhere() returns null only if there was a moment during the call at which no hot
//       slot, no magazine and not the spill held a node: every place was seen empty and, behind a
//       heavy fence that made all finished puts visible, no put had been counted since before the
//       first look. A put is counted (ThreadSlot::puts) after its node became visible: who sees the
//       count sees the node.
//   F4  A put publishes its node before it looks at its slot's `attention`; one that waits sets
//       hungry() and then every slot's `attention` before a heavy fence and take_anywhere(). One
//       of the two sees the other.
//   F5  While hungry(), every slot's `attention` is set or about to be: only its owner clears it,
//       then looks at hungry() behind a full fence, and sets it again if need be.
//
// Progress: lock-free. Each retry is caused by another thread's finished get or put.
// Thread safety: a ThreadSlot belongs to its thread; the list: shared objects: safe.
#pragma once

#include <cstdint>
#include <memory>

#include "mrpool/internal/hot_slot.h"
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

// What a thread has of a list. On a line of its own, and none beside it: processors fetch lines in
// pairs.
template <typename Platform>
struct alignas(128) ThreadSlot {
  HotSlot<Platform> hot;
  Magazine<Platform>* current = nullptr;  // the owner's; never null while it is attached
  typename Platform::template Atomic<uint64_t> puts{0};  // the owner counts; by all it ever had
  typename Platform::template Atomic<bool> attention{false};  // look at hungry() (F5)
  Magazine<Platform>* spare = nullptr;                        // the owner's
  typename Platform::template Atomic<uint32_t> next{0};       // TaggedStack's link
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

  // The fast path: null when the slot has nothing at hand (then take() looks further).
  [[gnu::always_inline]] static Node* pop(Slot& slot) {
    Node* const node = slot.hot.pop();
    if (node != nullptr) [[likely]]
      return node;
    return slot.current->pop();
  }
  // The fast path: false when the node must go elsewhere (then give() does it).
  [[gnu::always_inline]] static bool push(Slot& slot, Node* node) {
    if (!slot.hot.push(node)) [[unlikely]] {
      if (!slot.current->push(node)) return false;
    }
    Platform::count(slot.puts);  // releases: F3
    Platform::light_fence();     // F4
    return true;
  }
  // After push() was true: whether to call look_up().
  [[gnu::always_inline]] static bool disturbed(const Slot& slot) {
    return slot.attention.load(std::memory_order_relaxed);
  }
  // Whether somebody waits; if not, the slot is left in peace again.
  bool look_up(Slot& slot);

  bool hungry() const { return hungry_.load(std::memory_order_seq_cst); }
  // Called by one thread at a time.
  void set_hungry(bool hungry);

  // In these `slot` is the calling thread's, null when it has none.
  // A free node, wherever it is; null when there was none (F3).
  Node* take(Slot* slot);
  // Afterwards the caller looks at hungry().
  void give(Slot* slot, Node* node);

  // A slot for the calling thread; null when all are taken.
  Slot* attach();
  // Leaves what the slot holds to the others.
  void detach(Slot* slot);
  bool may_attach() const { return attached_.load(std::memory_order_relaxed) < max_threads_; }

  void heavy_fence(const Slot* slot) const;

  // Calls `visit` with each free node. Exact when no call is under way.
  template <typename Visit>
  void for_each_free(Visit visit) const;
  // Puts since creation. Exact when no call is under way.
  uint64_t puts() const;

 private:
  using Mag = Magazine<Platform>;
  Node* take_from_stock(Slot& slot);
  Node* take_anywhere(const Slot* slot);
  Mag* pop_magazine(TaggedStack<Platform>& stack);
  Mag* pop_vacant();
  void push_magazine(TaggedStack<Platform>& stack, Mag* magazine);
  void release(Mag* magazine);
  bool push_behind(Slot& slot, Node* node);
  uint64_t slot_puts() const;

  // Read by slow paths, written almost never.
  alignas(128) typename Platform::template Atomic<bool> hungry_{false};
  uint32_t max_threads_ = 0;
  uint32_t count_ = 0;
  uint32_t magazine_count_ = 0;
  Node* const* nodes_ = nullptr;
  std::unique_ptr<Mag[]> magazines_;
  std::unique_ptr<Slot[]> slots_;

  // Written on slow paths, once in a magazine's operations.
  alignas(128) TaggedStack<Platform> stocked_;  // magazines that held nodes when they were listed
  TaggedStack<Platform> vacant_;                // magazines without nodes: none can appear there
  TaggedStack<Platform> spill_;                 // nodes
  TaggedStack<Platform> idle_slots_;
  typename Platform::template Atomic<uint64_t> spill_puts_{0};
  typename Platform::template Atomic<uint32_t> attached_{0};
  typename Platform::template Atomic<uint32_t> used_magazines_{0};  // those above never held a node
  typename Platform::template Atomic<uint32_t> used_slots_{0};  // those above never had an owner
};

template <typename Platform>
template <typename Visit>
void FreeList<Platform>::for_each_free(Visit visit) const {
  const uint32_t slots = used_slots_.load(std::memory_order_acquire);
  for (uint32_t s = 0; s < slots; ++s) {
    if (Node* const node = slots_[s].hot.peek()) visit(node);
  }
  const uint32_t magazines = used_magazines_.load(std::memory_order_acquire);
  for (uint32_t m = 0; m < magazines; ++m) magazines_[m].for_each(visit);
  uint32_t i = spill_.index_of(spill_.version());
  // Bounded: a list that changes underfoot may lead round in circles.
  for (uint32_t steps = 0; i != kMaxNodes && steps < count_; ++steps) {
    visit(nodes_[i]);
    i = nodes_[i]->next.load(std::memory_order_relaxed);
  }
}

}  // namespace mrpool::internal
