// What the NVMe target counts of each subsystem: one line for each counter, shown as
// `subsystem/NQN/NAME` in the daemon's statistics.
//
// Thread safety and ownership: examples/engine/counters.h.
#pragma once

#include <algorithm>

#include "examples/engine/counters.h"
#include "mrpool/reactor.h"

namespace mrpool::nvmf_target {

#define MRPOOL_NVME_COUNTERS(X)                            \
  X(reads, "commands that read; Compare counts as a read") \
  X(writes, "commands that wrote")                         \
  X(bytes_read, "by these")                                \
  X(bytes_written, "by these")                             \
  X(media_errors, "commands that ended in a media error")  \
  X(busy_ns, "time in which commands were under way, nanoseconds, summed over the workers")

MRPOOL_DEFINE_COUNTERS(Counters, Totals, MRPOOL_NVME_COUNTERS)

// One worker's of one subsystem.
struct WorkerCounters : Counters {
  // Queues tell of their time; what several were busy in counts once.
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
