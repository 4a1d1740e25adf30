// A magazine: up to 32 free nodes that one thread pops and pushes with plain stores, and from which
// any other thread can steal. Not API; it is here because MrPool's fast path is inlined.
//
// It is a Chase-Lev deque with an asymmetric fence. Invariants (docs/mr_pool.md proves them):
//   M1  Only the owner writes bottom_, limit_ and slots_. Ownership changes hands through a stack
//       whose push releases and whose pop acquires.
//   M2  top_ only grows, and only by compare-exchange. The free nodes are slots_[top_..bottom_).
//   M3  The node at top_ is taken by whoever advances top_ past it, the owner included. The owner
//       takes a node above top_ by lowering bottom_ alone: no thief can be after that one, because
//       a thief reads bottom_ behind a heavy fence that follows its read of top_, and the owner
//       reads top_ behind a light fence that follows its store of bottom_. One of the two sees the
//       other.
//
// The light fence only binds the compiler; the heavy one makes every running thread of the process
// execute a full barrier (membarrier). top_ has 64 bits and never comes round, so there is no ABA.
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

  [[gnu::always_inline]] Node* pop() {
    const int64_t last = bottom_.load(std::memory_order_relaxed) - 1;
    // Release (free on x86): a thief that acquires this value must still see the nodes below it.
    bottom_.store(last, std::memory_order_release);
    Platform::light_fence();  // M3
    const int64_t top = top_.load(std::memory_order_relaxed);
    if (top < last) [[likely]]
      return slots_[last & kMask].load(std::memory_order_relaxed);
    return pop_contended(last, top);
  }

  // False when it is full.
  [[gnu::always_inline]] bool push(Node* node) {
    const int64_t bottom = bottom_.load(std::memory_order_relaxed);
    if (bottom == limit_ && !raise_limit(bottom)) [[unlikely]]
      return false;
    slots_[bottom & kMask].store(node, std::memory_order_relaxed);
    // Release: pairs with steal()'s acquire; hands over what the putter wrote to the node.
    bottom_.store(bottom + 1, std::memory_order_release);
    return true;
  }

  // Before the first use. `capacity` is at most kSlots.
  void set_capacity(int64_t capacity) {
    capacity_ = capacity;
    limit_ = capacity;
  }

  // Before the first use.
  void fill(Node* node) {
    const int64_t bottom = bottom_.load(std::memory_order_relaxed);
    slots_[bottom & kMask].store(node, std::memory_order_relaxed);
    bottom_.store(bottom + 1, std::memory_order_relaxed);
  }

  // Takes the oldest node. Null with `lost` false: there was none. Null with `lost` true: another
  // thread was faster, and has made progress. `fence` runs a heavy fence, or none where the caller
  // can show that no other thread owns a magazine.
  template <typename Fence>
  Node* steal(Fence fence, bool& lost) {
    // Acquire: the reads of top_ and of slots_ below are not moved in front of it.
    int64_t top = top_.load(std::memory_order_acquire);
    fence();  // M3
    // Acquire: pairs with push()'s release.
    const int64_t bottom = bottom_.load(std::memory_order_acquire);
    lost = false;
    if (top >= bottom) return nullptr;
    Node* const node = slots_[top & kMask].load(std::memory_order_relaxed);
    // Release: the read of the slot stays in front; push() acquires. Acquire: the next steal reads
    // what this one left.
    if (top_.compare_exchange_strong(top, top + 1, std::memory_order_acq_rel,
                                     std::memory_order_relaxed)) {
      return node;
    }
    lost = true;
    return nullptr;
  }

  // How many nodes there seem to be; exact for the owner while nobody steals, and when all is
  // quiet.
  int64_t size() const {
    const int64_t n =
        bottom_.load(std::memory_order_acquire) - top_.load(std::memory_order_acquire);
    return n > 0 ? n : 0;  // bottom_ is one below top_ during a pop of an empty magazine
  }

  // Calls `visit` with each node it seems to hold; exact when all is quiet.
  template <typename Visit>
  void for_each(Visit visit) const {
    const int64_t bottom = bottom_.load(std::memory_order_acquire);
    for (int64_t i = top_.load(std::memory_order_acquire); i < bottom; ++i) {
      visit(slots_[i & kMask].load(std::memory_order_relaxed));
    }
  }

 private:
  // The last node, which thieves may be after, or none at all.
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

  // Nodes have left at the other end since limit_ was set.
  [[gnu::noinline]] bool raise_limit(int64_t bottom) {
    // Acquire: pairs with the release of the thieves' compare-exchanges, each of which follows the
    // read of a slot that may be written again from now on.
    limit_ = top_.load(std::memory_order_acquire) + capacity_;
    return bottom < limit_;
  }

  // First, so that an index needs no addition to become an address.
  typename Platform::template Atomic<Node*> slots_[kSlots] = {};
  typename Platform::template Atomic<int64_t> bottom_{0};
  typename Platform::template Atomic<int64_t> top_{0};
  int64_t limit_ = 0;  // the owner's: bottom_ stays below top_ + capacity_, which is no less
  int64_t capacity_ = 0;

 public:
  typename Platform::template Atomic<uint32_t> next{0};  // TaggedStack's link
};

}  // namespace mrpool::internal
