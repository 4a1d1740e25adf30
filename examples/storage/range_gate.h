// Keeps a compare and write atomic: SCSI COMPARE AND WRITE (SBC-3 §5.3), NVMe's fused operation
// ([nvm] 2.3). While one runs, no other write to its blocks runs, and it starts only when earlier
// writes to them have finished. One gate serves all threads that use a store.
//
// Without a compare and write, a write uses the fast path: it increments a count in its lane and
// loads one shared word that is rarely written. While a compare and write is inside the gate or
// waits for it, writes queue under a mutex and wait only if ranges overlap. No call spins or
// sleeps: a waiting pass is granted later, by a call on its own reactor.
//
// Invariants:
//  1. A fast pass increments its lane's count, then loads `exclusive_`, and enters only if that is
//     zero; otherwise it decrements the count and queues. An exclusive pass increments
//     `exclusive_`, then loads the counts. Both are sequentially consistent, so that one of the two
//     sees the other: no fast pass is inside that an exclusive pass did not count.
//  2. An exclusive pass enters only after every count was seen at zero since `exclusive_` became
//     nonzero (`drained_`). By 1, no fast pass can enter until `exclusive_` is zero again, so
//     `drained_` stays valid until then.
//  3. A thread that decrements a count then loads `exclusive_`, again sequentially consistent. If
//     it is nonzero, the thread grants passes under the mutex. So either the last fast pass that
//     leaves sees the waiting exclusive pass, or that pass saw its count at zero: no grant is lost.
//  4. The queue holds all passes that are not fast, in the order of arrival. A pass enters when no
//     earlier pass conflicts with it, including waiting ones, so that a stream of writes cannot
//     starve a compare. An exclusive pass also needs `drained_`. Every wait is for an earlier pass
//     or a fast pass, so there is no cycle; passes inside end because storage answers.
//
// Thread safety: shared objects: safe; a Pass belongs to one thread. Ownership: the caller owns a
// Pass and keeps it until leave() or cancel(). Memory ordering: what was written under a pass
// that left is visible to every conflicting pass that enters later.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>

#include "mrpool/reactor.h"

namespace mrpool::storage {

class RangeGate {
 public:
  // The gate calls run() when it grants the pass.
  struct Pass : mrpool::Task {
    using mrpool::Task::Task;
    uint64_t offset = 0;  // bytes, like `length`: a replacing unit may have other blocks
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

  RangeGate() = default;
  RangeGate(const RangeGate&) = delete;
  RangeGate& operator=(const RangeGate&) = delete;

  // True: the pass is inside. False: it waits; when granted, it runs on `reactor`, which must be
  // this thread's. `lane`: a number of the thread; threads may share one, at the cost of speed.
  [[nodiscard]] bool enter(Pass& pass, uint32_t lane, Reactor& reactor);
  void leave(Pass& pass, uint32_t lane);
  // Takes a pass back that waits, or whose run() has not begun; run() will not be called. False: it
  // does not wait.
  bool cancel(Pass& pass);
  // True if no pass is inside or waits.
  bool empty();

 private:
  struct alignas(64) Lane {
    // Fast passes inside. Invariants 1 and 3 require sequentially consistent accesses.
    std::atomic<uint32_t> inside{0};
    void add(uint32_t n) { inside.fetch_add(n, std::memory_order_seq_cst); }
  };
  static constexpr size_t kLanes = 8;

  static bool conflict(const Pass& a, const Pass& b);
  // The mutex is held.
  bool blocked(const Pass& pass) const;
  void look_for_drained();
  void grant();
  void link(Pass& pass);
  void unlink(Pass& pass);
  void remove(Pass& pass);

  std::array<Lane, kLanes> lanes_;
  // Exclusive passes in the queue. Written under the mutex; sequentially consistent for invariants
  // 1 and 3.
  alignas(64) std::atomic<uint32_t> exclusive_{0};
  std::mutex mutex_;
  Pass* first_ = nullptr;
  Pass* last_ = nullptr;
  uint32_t waiting_ = 0;
  bool drained_ = false;
};

}  // namespace mrpool::storage
