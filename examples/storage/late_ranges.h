// Ranges of a volume in which a request that its host has given up on may still change bytes.
//
// A request cannot be cancelled, and a store that hangs keeps it. Its host may still get the answer
// that the command was aborted, provided that later I/O at these bytes waits until the store has
// answered. So no host reads or writes there while the outcome is open, and an older write never
// overwrites an acknowledged one.
//
//   late.add(range);                                  // before the host is told
//   if (late.any() && !late.pass(wait, offset, length, reactor)) return;  // run() follows: ask
//   again late.remove(range);                               // the store has answered
//
// Thread safety: shared objects: safe; a Wait is its own thread's, that of its reactor.
// Ownership: ranges and waits are the caller's: a range stays until remove(), a wait until its
// run() or cancel().
// Memory ordering: a request that a host sent after it got the answer to an abort sees the range:
// the answer and the request order add() before any().
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>

#include "mrpool/reactor.h"

namespace mrpool::storage {

class LateRanges {
 public:
  struct Range {
    uint64_t offset = 0;
    uint64_t length = 0;

   private:
    friend class LateRanges;
    Range* next_ = nullptr;
  };

  // Its run() is the end of the wait: pass() may be asked again.
  struct Wait : Task {
    using Task::Task;

   private:
    friend class LateRanges;
    uint64_t offset_ = 0;
    uint64_t length_ = 0;
    Reactor* reactor_ = nullptr;  // where it waits, or last waited
    Wait* next_ = nullptr;
    bool listed_ = false;
  };

  // Whether there is any.
  bool any() const { return count_.load(std::memory_order_acquire) != 0; }
  void add(Range& range);
  // Ends the waits of those who wait for nothing else.
  void remove(Range& range);

  // True: no late request is at these bytes. False: the wait runs on `reactor`, which is this
  // thread's, when that may have changed.
  [[nodiscard]] bool pass(Wait& wait, uint64_t offset, uint64_t length, Reactor& reactor);
  // Takes a wait back, which will not run then. False: it does not wait.
  bool cancel(Wait& wait);

 private:
  bool blocked(const Wait& wait) const;

  std::mutex mutex_;
  Range* ranges_ = nullptr;
  Wait* waits_ = nullptr;  // the oldest first
  // Of ranges_. Written under the mutex.
  std::atomic<uint32_t> count_{0};
};

}  // namespace mrpool::storage
