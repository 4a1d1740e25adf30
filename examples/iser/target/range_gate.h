// Keeps COMPARE AND WRITE atomic (SBC-3 §5.3): while one runs, no other write to its blocks does,
// and it starts only when writes to them that came earlier have finished. One gate serves all
// threads of a unit, and the units that take its place.
//
// A write that meets no COMPARE AND WRITE takes the fast way: it counts itself in its own thread's
// lane and looks at one word that all threads only read. While a COMPARE AND WRITE is in play (it
// is inside, or waits to be), writes queue under a mutex and wait only where ranges overlap.
// Nothing here spins or sleeps: a pass that has to wait is granted later, by a call on its own
// reactor.
//
// Invariants:
//  1. A fast pass raises its lane's count, then loads `exclusive_`, and stays only if that is zero;
//     otherwise it lowers the count and queues. An exclusive pass raises `exclusive_`, then loads
//     the counts. Both do so sequentially consistent, so that one of the two sees the other: no
//     fast pass is inside that an exclusive one did not count.
//  2. An exclusive pass enters only after every count was seen at zero since `exclusive_` became
//     nonzero (`drained_`). By 1 no fast pass can enter before `exclusive_` is zero again, so what
//     was seen once holds until then.
//  3. Whoever lowers a count loads `exclusive_` afterwards, again sequentially consistent, and
//  looks
//     for grants under the mutex when it is nonzero. So the last fast pass to leave finds the
//     exclusive pass that waits for it, or that pass saw its count at zero: no grant is lost.
//  4. The queue holds all passes that are not fast, in the order they came. A pass is inside when
//     no earlier one conflicts with it, waiting ones included (a stream of writes cannot starve a
//     compare), and an exclusive one needs `drained_` too. Every wait is for an earlier pass or a
//     fast one, so there is no cycle; passes inside end because storage answers.
//
// Thread safety: shared objects: safe; a Pass is its own thread's, and a lane belongs to one
// thread. Ownership: a Pass is the caller's and stays until leave(). Memory ordering: what was
// written under a pass that left is seen by every conflicting pass that enters later.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <vector>

#include "mrpool/reactor.h"

namespace mrpool::iser_target {

class RangeGate {
 public:
  // Its run() is the grant.
  struct Pass : mrpool::Task {
    using mrpool::Task::Task;
    uint64_t offset = 0;  // bytes, as the length: a unit's successor may have other blocks
    uint64_t length = 0;
    bool exclusive = false;

   private:
    friend class RangeGate;
    enum class Place : uint8_t { kOutside, kFast, kWaiting, kInside };
    Place place_ = Place::kOutside;
    Reactor* reactor_ = nullptr;
    Pass* next_ = nullptr;
    Pass* prev_ = nullptr;
  };

  // One lane for each thread.
  explicit RangeGate(uint32_t lanes) : lanes_(lanes) {}
  RangeGate(const RangeGate&) = delete;
  RangeGate& operator=(const RangeGate&) = delete;

  // True: inside at once. False: the pass runs on `reactor`, which is this thread's, when it is.
  [[nodiscard]] bool enter(Pass& pass, uint32_t lane, Reactor& reactor);
  void leave(Pass& pass, uint32_t lane);
  // Nobody is inside or waits.
  bool empty();

 private:
  struct alignas(64) Lane {
    // Fast passes inside. Written by the lane's thread only; 1. and 3. say why every access is
    // sequentially consistent.
    std::atomic<uint32_t> inside{0};
    void add(uint32_t n) {
      inside.store(inside.load(std::memory_order_relaxed) + n, std::memory_order_seq_cst);
    }
  };

  static bool conflict(const Pass& a, const Pass& b);
  // The mutex is held.
  bool blocked(const Pass& pass) const;
  void look_for_drained();
  void grant();
  void link(Pass& pass);
  void unlink(Pass& pass);

  std::vector<Lane> lanes_;
  // Exclusive passes in the queue. Written under the mutex, sequentially consistent for 1. and 3.
  alignas(64) std::atomic<uint32_t> exclusive_{0};
  std::mutex mutex_;
  Pass* first_ = nullptr;
  Pass* last_ = nullptr;
  uint32_t waiting_ = 0;
  bool drained_ = false;
};

}  // namespace mrpool::iser_target
