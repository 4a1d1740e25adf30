// A hot slot: one free node that the owner takes and puts with plain stores, and that any other
// thread can steal. Not API; it is here because MrPool's fast path is inlined.
//
// A get looks here before it looks in the thread's magazine. A thread that returns each node before
// it gets the next one uses nothing else.
//
// States, by the flags of claim_:
//
//   flags              the slot holds  who may take the node
//   none               node_           the owner, without a compare-exchange
//   kLooking           node_           the owner or a thief: the first compare-exchange decides
//   kLooking | kTaken  nothing         nobody; node_ is stale
//
// Invariants (docs/internals/mr_pool.md proves them):
//   H1  Only the owner writes node_. A slot gets a new owner through a stack whose push releases
//       and whose pop acquires.
//   H2  claim_ is changed by compare-exchange only. A thief adds kLooking, then kTaken when it
//       takes the node. The owner removes both flags and advances the version.
//   H3  The slot holds node_, unless kTaken is set: then it holds nothing.
//   H4  The owner stores null in node_ and reads claim_ after a light fence. If claim_ has no flag,
//       the owner has taken the node. If it has one, the owner removes the flags by a
//       compare-exchange, and has taken the node unless kTaken was set. A thief sets kLooking,
//       runs a heavy fence and reads node_. It takes the node by the compare-exchange that adds
//       kTaken. At least one of the two sees the other, and the compare-exchange decides.
//
// The version has 56 bits and does not wrap around, so there is no ABA.
//
// Thread safety: pop, push: the owner; the rest: any thread.
#pragma once

#include <atomic>
#include <cstdint>

#include "mrpool/internal/platform.h"

namespace mrpool::internal {

template <typename Platform>
class HotSlot {
 public:
  using Node = FreeNode<Platform>;

  // Returns the node. Null: the slot is empty.
  [[gnu::always_inline]] Node* pop() {
    Node* const node = node_.load(std::memory_order_relaxed);
    if (node == nullptr) [[unlikely]]
      return nullptr;
    node_.store(nullptr, std::memory_order_relaxed);
    Platform::light_fence();  // H4
    if ((claim_.load(std::memory_order_relaxed) & kFlags) == 0) [[likely]]
      return node;
    return pop_contended(node);
  }

  // False: node_ is set. Either the slot is full, or a thief has emptied it and the owner has not
  // called pop() since.
  [[gnu::always_inline]] bool push(Node* node) {
    if (node_.load(std::memory_order_relaxed) != nullptr) [[unlikely]]
      return false;
    // Release: pairs with steal()'s acquire; publishes what the caller wrote to the node.
    node_.store(node, std::memory_order_release);
    return true;
  }

  // Takes the node of another thread. Null with `lost` false: the slot was empty. Null with `lost`
  // true: another thread was faster, and has made progress. `fence` as in Magazine::steal().
  template <typename Fence>
  Node* steal(Fence fence, bool& lost) {
    lost = false;
    // Acquire: pairs with the owner's compare-exchange, which follows its store of null.
    uint64_t claim = claim_.load(std::memory_order_acquire);
    if ((claim & kTaken) != 0 || node_.load(std::memory_order_relaxed) == nullptr) return nullptr;
    if ((claim & kLooking) == 0) {
      lost = !claim_.compare_exchange_strong(claim, claim | kLooking, std::memory_order_acq_rel,
                                             std::memory_order_relaxed);
      if (lost) return nullptr;
      claim |= kLooking;
    }         // else: another thief looks too; one compare-exchange below succeeds
    fence();  // H4
    // Acquire: pairs with push()'s release.
    Node* const node = node_.load(std::memory_order_acquire);
    if (node == nullptr) return nullptr;  // kLooking stays; the owner's next pop removes it
    lost = !claim_.compare_exchange_strong(claim, claim | kTaken, std::memory_order_acq_rel,
                                           std::memory_order_relaxed);
    return lost ? nullptr : node;
  }

  // The node that the slot seems to hold. Exact while no other thread changes the slot.
  Node* peek() const {
    if ((claim_.load(std::memory_order_acquire) & kTaken) != 0) return nullptr;
    return node_.load(std::memory_order_acquire);
  }

 private:
  static constexpr uint64_t kLooking = 1;
  static constexpr uint64_t kTaken = 2;
  static constexpr uint64_t kFlags = 0xff;
  static constexpr uint64_t kVersionOne = kFlags + 1;

  // pop() after a thief has set a flag.
  [[gnu::noinline]] Node* pop_contended(Node* node) {
    uint64_t claim = claim_.load(std::memory_order_relaxed);
    // Release: a thief that sees no flags sees the null. Acquire: as in Magazine::pop_contended().
    while (!claim_.compare_exchange_weak(claim, (claim & ~kFlags) + kVersionOne,
                                         std::memory_order_acq_rel, std::memory_order_relaxed)) {
    }
    return (claim & kTaken) != 0 ? nullptr : node;
  }

  typename Platform::template Atomic<Node*> node_{nullptr};
  typename Platform::template Atomic<uint64_t> claim_{0};
};

}  // namespace mrpool::internal
