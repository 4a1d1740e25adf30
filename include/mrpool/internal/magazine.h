// A magazine: up to 32 free nodes that the owner pops and pushes with plain stores, and that any
// other thread can steal. Not API; it is here because MrPool's fast path is inlined.
//
// It is a Chase-Lev deque with an asymmetric fence. Invariants (docs/internals/mr_pool.md proves
// them):
//   M1  Only the owner writes bottom_, limit_ and slots_. A magazine gets a new owner through a
//       stack whose push releases and whose pop acquires.
//   M2  top_ only grows, and only by compare-exchange. The free nodes are slots_[top_..bottom_).
//   M3  The thread that advances top_ past a node has taken it, the owner included. The owner takes
//       a node above top_ by lowering bottom_ alone: no thief can take the same node. A thief reads
//       top_, runs a heavy fence, and reads bottom_. The owner stores bottom_, runs a light fence,
//       and reads top_. At least one of the two sees the other.
//
// The light fence orders the compiler only. The heavy fence makes every running thread of the
// process execute a full barrier (membarrier). top_ has 64 bits and does not wrap around, so there
// is no ABA.
//
// Thread safety: pop, push, fill: the owner; the rest: any thread.
#pragma once

#include <atomic>
#include <cstdint>

#include "mrpool/internal/platform.h"

namespace mrpool::internal {

template <typename Platform>
class alignas(128) Magazine {
 public:
  using Node = FreeNode<Platform>;
  static constexpr int64_t kSlots = 32;
  static constexpr int64_t kMask = kSlots - 1;

  // Returns the node that was pushed last. Null: the magazine is empty.
  [[gnu::always_inline]] Node* pop() {
    const int64_t last = bottom_.load(std::memory_order_relaxed) - 1;
    // Release (no instruction on x86): a thief that acquires this value must see the nodes below.
    bottom_.store(last, std::memory_order_release);
    Platform::light_fence();  // M3
    const int64_t top = top_.load(std::memory_order_relaxed);
    if (top < last) [[likely]]
      return slots_[last & kMask].load(std::memory_order_relaxed);
    return pop_contended(last, top);
  }

  // False: the magazine is full.
  [[gnu::always_inline]] bool push(Node* node) {
    const int64_t bottom = bottom_.load(std::memory_order_relaxed);
    if (bottom == limit_ && !raise_limit(bottom)) [[unlikely]]
      return false;
    slots_[bottom & kMask].store(node, std::memory_order_relaxed);
    // Release: pairs with steal()'s acquire; publishes what the caller wrote to the node.
    bottom_.store(bottom + 1, std::memory_order_release);
    return true;
  }

  // Called before the first use. `capacity` is at most kSlots.
  void set_capacity(int64_t capacity) {
    capacity_ = capacity;
    limit_ = capacity;
  }

  // Adds a node. Called before the first use.
  void fill(Node* node) {
    const int64_t bottom = bottom_.load(std::memory_order_relaxed);
    slots_[bottom & kMask].store(node, std::memory_order_relaxed);
    bottom_.store(bottom + 1, std::memory_order_relaxed);
  }

  // Takes the oldest node. Null with `lost` false: the magazine was empty. Null with `lost` true:
  // another thread was faster, and has made progress. `fence` runs a heavy fence. A caller that can
  // show that no other thread owns a magazine may pass one that does less.
  template <typename Fence>
  Node* steal(Fence fence, bool& lost) {
    // Acquire: the later reads of bottom_ and of slots_ are not moved before it.
    int64_t top = top_.load(std::memory_order_acquire);
    fence();  // M3
    // Acquire: pairs with push()'s release.
    const int64_t bottom = bottom_.load(std::memory_order_acquire);
    lost = false;
    if (top >= bottom) return nullptr;
    Node* const node = slots_[top & kMask].load(std::memory_order_relaxed);
    // Release: the read of the slot is not moved after it; push() acquires. Acquire: pairs with the
    // compare-exchange of the thief before.
    if (top_.compare_exchange_strong(top, top + 1, std::memory_order_acq_rel,
                                     std::memory_order_relaxed)) {
      return node;
    }
    lost = true;
    return nullptr;
  }

  // The number of nodes, as it seems. Exact while no other thread changes the magazine.
  int64_t size() const {
    const int64_t n =
        bottom_.load(std::memory_order_acquire) - top_.load(std::memory_order_acquire);
    return n > 0 ? n : 0;  // bottom_ is one below top_ during a pop of an empty magazine
  }

  // Calls `visit` with each node. Exact while no thread changes the magazine.
  template <typename Visit>
  void for_each(Visit visit) const {
    const int64_t bottom = bottom_.load(std::memory_order_acquire);
    for (int64_t i = top_.load(std::memory_order_acquire); i < bottom; ++i) {
      visit(slots_[i & kMask].load(std::memory_order_relaxed));
    }
  }

 private:
  // pop() of the last node, which a thief may take at the same time, or of an empty magazine.
  [[gnu::noinline]] Node* pop_contended(int64_t last, int64_t top) {
    Node* node = nullptr;
    if (top == last) {
      node = slots_[last & kMask].load(std::memory_order_relaxed);
      // As in steal().
      if (!top_.compare_exchange_strong(top, top + 1, std::memory_order_acq_rel,
                                        std::memory_order_relaxed)) {
        node = nullptr;
      }
    }
    bottom_.store(last + 1, std::memory_order_release);
    return node;
  }

  // Sets limit_ again after nodes were stolen; false: the magazine is full.
  [[gnu::noinline]] bool raise_limit(int64_t bottom) {
    // Acquire: pairs with the release of the thieves' compare-exchanges. Each of these follows the
    // read of a slot that push() may overwrite from now on.
    limit_ = top_.load(std::memory_order_acquire) + capacity_;
    return bottom < limit_;
  }

  // First, so that an index needs no addition to become an address.
  typename Platform::template Atomic<Node*> slots_[kSlots] = {};
  typename Platform::template Atomic<int64_t> bottom_{0};
  typename Platform::template Atomic<int64_t> top_{0};
  int64_t limit_ = 0;  // the owner's: the most that bottom_ may be; at most top_ + capacity_
  int64_t capacity_ = 0;

 public:
  typename Platform::template Atomic<uint32_t> next{0};  // TaggedStack's link
};

}  // namespace mrpool::internal
