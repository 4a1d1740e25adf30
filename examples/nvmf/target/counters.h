// The counters of each subsystem, one line each. The daemon's statistics list them as
// `subsystem/NQN/NAME`.
//
// Thread safety and ownership: examples/engine/counters.h.
#pragma once

#include <algorithm>

#include "examples/engine/counters.h"
#include "mrpool/reactor.h"

namespace mrpool::nvmf_target {

#define MRPOOL_NVME_COUNTERS(X)                                         \
  X(reads, "commands that read, also Compare and Verify")               \
  X(writes, "commands that wrote")                                      \
  X(bytes_read, "by these")                                             \
  X(bytes_written, "by these")                                          \
  X(compare_and_writes, "of these, fused Compare and Write that wrote") \
  X(copies, "Copy commands; their bytes are in both numbers")           \
  X(media_errors, "commands that ended in a media error")               \
  X(path_errors, "commands refused on this path by the state of ANA")   \
  X(authentications, "times that a host has proven itself on a queue")  \
  X(authentication_failures, "times that a host has not")               \
  X(busy_ns, "time in which commands were under way, nanoseconds, summed over the workers")

MRPOOL_DEFINE_COUNTERS(Counters, Totals, MRPOOL_NVME_COUNTERS)

// The counters of one subsystem on one worker.
struct WorkerCounters : Counters {
  // Queues report their busy time; time in which several queues were busy counts once.
  void busy(Nanoseconds from, Nanoseconds to) {
    from = std::max(from, busy_until_);
    if (to <= from) return;
    busy_ns += uint64_t((to - from).count());
    busy_until_ = to;
  }

 private:
  Nanoseconds busy_until_{};
};

}  // namespace mrpool::nvmf_target
