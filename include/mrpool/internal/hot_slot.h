// A hot slot: one free node that one thread takes and puts with plain stores, and that any other
// thread can steal. Not API; it is here because MrPool's fast path is inlined.
//
// It stands in front of the thread's magazine: a thread that returns what it got before it gets the
// next one needs nothing else. Invariants (docs/mr_pool.md proves them):
//   H1  Only the owner writes node_. Ownership changes hands through a stack whose push releases
//       and whose pop acquires.
//   H2  claim_ is changed by compare-exchange only. A thief adds kLooking, then kTaken when it
//       takes the node; the owner takes both away and advances the version.
//   H3  The slot holds node_, unless kTaken is set: then it holds nothing, whatever node_ says.
//   H4  The owner takes a node by storing null and then reading claim_ without a flag behind a
//       light fence; with a flag, by the compare-exchange that takes the flags away, if kTaken was
//       not among them. A thief takes it by the compare-exchange from kLooking to kTaken, having
//       read node_ behind a heavy fence that follows kLooking. One of the two sees the other, and
//       the compare-exchange decides.
//
// The version has 56 bits and does not come round, so there is no ABA.
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

  // Null when there is none.
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

  // False when it is full, or was and has not been looked into since a thief emptied it.
  [[gnu::always_inline]] bool push(Node* node) {
    if (node_.load(std::memory_order_relaxed) != nullptr) [[unlikely]]
      return false;
    // Release: pairs with steal()'s acquire; hands over what the putter wrote to the node.
    node_.store(node, std::memory_order_release);
    return true;
  }

  // Null with `lost` false: there was none. Null with `lost` true: another thread was faster, and
  // has made progress. `fence` as in Magazine::steal().
  template <typename Fence>
  Node* steal(Fence fence, bool& lost) {
    lost = false;
    // Acquire: pairs with the owner's compare-exchange, which comes behind its store of null.
    uint64_t claim = claim_.load(std::memory_order_acquire);
    if ((claim & kTaken) != 0 || node_.load(std::memory_order_relaxed) == nullptr) return nullptr;
    if ((claim & kLooking) == 0) {
      lost = !claim_.compare_exchange_strong(claim, claim | kLooking, std::memory_order_acq_rel,
                                             std::memory_order_relaxed);
      if (lost) return nullptr;
      claim |= kLooking;
    }         // else: beside another thief; one compare-exchange below succeeds
    fence();  // H4
    // Acquire: pairs with push()'s release.
    Node* const node = node_.load(std::memory_order_acquire);
    if (node == nullptr) return nullptr;  // kLooking stays; the owner's next pop takes it away
    lost = !claim_.compare_exchange_strong(claim, claim | kTaken, std::memory_order_acq_rel,
                                           std::memory_order_relaxed);
    return lost ? nullptr : node;
  }

  // What it seems to hold; exact for the owner while nobody steals, and when all is quiet.
  Node* peek() const {
    if ((claim_.load(std::memory_order_acquire) & kTaken) != 0) return nullptr;
    return node_.load(std::memory_order_acquire);
  }

 private:
  static constexpr uint64_t kLooking = 1;
  static constexpr uint64_t kTaken = 2;
  static constexpr uint64_t kFlags = 0xff;
  static constexpr uint64_t kVersionOne = kFlags + 1;

  // Thieves have looked, or look.
  [[gnu::noinline]] Node* pop_contended(Node* node) {
    uint64_t claim = claim_.load(std::memory_order_relaxed);
    // Release: who sees the flags gone sees the null. Acquire: as in Magazine::pop_contended().
    while (!claim_.compare_exchange_weak(claim, (claim & ~kFlags) + kVersionOne,
                                         std::memory_order_acq_rel, std::memory_order_relaxed)) {
    }
    return (claim & kTaken) != 0 ? nullptr : node;
  }

  typename Platform::template Atomic<Node*> node_{nullptr};
  typename Platform::template Atomic<uint64_t> claim_{0};
};

}  // namespace mrpool::internal
