// The free list of a pool: Bonwick's magazines and depots, with stealing. Not API.
//
// A fixed array of magazines holds the free nodes. A thread with a slot has a hot slot for one node
// and up to two magazines. Gets and puts use the hot slot first, then the current magazine. A
// thread exchanges an empty or full magazine as a whole through two stacks, the depots `full_` and
// `empty_`.
//
// Free nodes never move between these places, so every free node can be found at any time. A thread
// that finds no node in its own slot and in the depots searches the arrays and steals. Threads
// without a slot (more threads than slots, machines without membarrier) put nodes on a third stack,
// `overflow_`, from which every thread takes.
//
// Invariants:
//   F1  A node is in exactly one of: a lease, one hot slot, one magazine, the overflow stack.
//   F2  A magazine is in exactly one of: a slot, one of the two depots, the hands of a thread that
//       moves it between these. Thieves reach its nodes in each of these places.
//   F3  take_anywhere() returns null only if, at some instant during the call, no hot slot, no
//       magazine and not the overflow stack held a node. It has seen every place empty. After a
//       heavy fence, which made all finished puts visible, it has seen that no put was counted
//       since before its first look. A put is counted (ThreadSlot::puts) after its node became
//       visible: a thread that sees the count sees the node.
//   F4  A put publishes its node before it reads its slot's `attention`. A get that waits sets
//       has_waiters() and then every slot's `attention`, before a heavy fence and take_anywhere().
//       At least one of the two sees the other.
//   F5  While has_waiters() is true, every slot's `attention` is set or about to be set. Only the
//       owner of a slot clears it. The owner then reads has_waiters() after a full fence, and sets
//       `attention` again if that is true.
//
// Progress: lock-free. Each retry is caused by another thread's finished get or put.
// Thread safety: a ThreadSlot belongs to its thread; any thread may call the list.
#pragma once

#include <cstdint>
#include <memory>

#include "mrpool/internal/hot_slot.h"
#include "mrpool/internal/magazine.h"

namespace mrpool::internal {

// A Treiber stack of integers below `kNil`. Its user keeps the links. The head has a 40-bit tag
// that every change advances: an unchanged head means that the stack has not changed (no ABA). The
// link of an index does not change while the index is on the stack.
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
      // Release: publishes what the caller wrote before; pairs with pop()'s acquire.
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
      // The index may have left the stack; then the exchange fails.
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

// The part of a list that belongs to one thread. Aligned to two cache lines, since processors fetch
// lines in pairs.
template <typename Platform>
struct alignas(128) ThreadSlot {
  HotSlot<Platform> hot;
  Magazine<Platform>* current = nullptr;  // the owner's; never null while it is attached
  typename Platform::template Atomic<uint64_t> puts{0};       // by all owners; the owner writes it
  typename Platform::template Atomic<bool> attention{false};  // read has_waiters() (F5)
  Magazine<Platform>* spare = nullptr;                        // the owner's
  typename Platform::template Atomic<uint32_t> next{0};       // TaggedStack's link
};

template <typename Platform>
class FreeList {
 public:
  using Node = FreeNode<Platform>;
  using Slot = ThreadSlot<Platform>;
  static constexpr uint32_t kMaxNodes = TaggedStack<Platform>::kNil;

  // `nodes` (borrowed, all free) must outlive the list. At most `max_threads` slots can be
  // attached; with 0 every operation uses the overflow stack.
  FreeList(Node* const* nodes, uint32_t count, uint32_t max_threads);

  // The fast path. Null: the hot slot and the current magazine are empty; call take().
  [[gnu::always_inline]] static Node* pop(Slot& slot) {
    Node* const node = slot.hot.pop();
    if (node != nullptr) [[likely]]
      return node;
    return slot.current->pop();
  }
  // The fast path. False: neither the hot slot nor the current magazine has space; call give().
  [[gnu::always_inline]] static bool push(Slot& slot, Node* node) {
    if (!slot.hot.push(node)) [[unlikely]] {
      if (!slot.current->push(node)) return false;
    }
    Platform::count(slot.puts);  // releases: F3
    Platform::light_fence();     // F4
    return true;
  }
  // After a successful push(): whether to call check_waiters().
  [[gnu::always_inline]] static bool disturbed(const Slot& slot) {
    return slot.attention.load(std::memory_order_relaxed);
  }
  // Whether there are waiters. If not, clears `attention` of `slot`.
  bool check_waiters(Slot& slot);

  bool has_waiters() const { return has_waiters_.load(std::memory_order_seq_cst); }
  // Called by one thread at a time.
  void set_has_waiters(bool waiting);

  // In take(), give() and heavy_fence() `slot` is the calling thread's, null when it has none.
  // Returns a free node from any place. Null: there was none (F3).
  Node* take(Slot* slot);
  // Makes `node` free. The caller must read has_waiters() afterwards.
  void give(Slot* slot, Node* node);

  // Returns a slot for the calling thread. Null: all are taken.
  Slot* attach();
  // Releases the slot. Its magazines go to the depots; the node in its hot slot stays there, where
  // thieves reach it.
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
  Node* take_from_depot(Slot& slot);
  Node* take_anywhere(const Slot* slot);
  Mag* pop_magazine(TaggedStack<Platform>& stack);
  Mag* pop_empty();
  void push_magazine(TaggedStack<Platform>& stack, Mag* magazine);
  void release(Mag* magazine);
  bool push_to_magazine(Slot& slot, Node* node);
  uint64_t slot_puts() const;

  // Read by slow paths, rarely written.
  alignas(128) typename Platform::template Atomic<bool> has_waiters_{false};
  uint32_t max_threads_ = 0;
  uint32_t count_ = 0;
  uint32_t magazine_count_ = 0;
  Node* const* nodes_ = nullptr;
  std::unique_ptr<Mag[]> magazines_;
  std::unique_ptr<Slot[]> slots_;

  // Written on slow paths, once for each exchange of a magazine.
  alignas(128) TaggedStack<Platform> full_;  // magazines that held nodes when they were pushed
  TaggedStack<Platform> empty_;              // magazines without nodes: nobody pushes to these
  TaggedStack<Platform> overflow_;           // nodes
  TaggedStack<Platform> idle_slots_;
  typename Platform::template Atomic<uint64_t> overflow_puts_{0};
  typename Platform::template Atomic<uint32_t> attached_{0};
  // Magazines and slots with a higher number have never held a node.
  typename Platform::template Atomic<uint32_t> used_magazines_{0};
  typename Platform::template Atomic<uint32_t> used_slots_{0};
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
  uint32_t i = overflow_.index_of(overflow_.version());
  // Bounded: the links of a stack that other threads change may form a cycle.
  for (uint32_t steps = 0; i != kMaxNodes && steps < count_; ++steps) {
    visit(nodes_[i]);
    i = nodes_[i]->next.load(std::memory_order_relaxed);
  }
}

}  // namespace mrpool::internal
