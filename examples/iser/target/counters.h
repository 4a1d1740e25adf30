// The counters of the iSER target, one line each. The daemon's statistics list them as `iser/NAME`.
//
// Thread safety and ownership: examples/engine/counters.h.
#pragma once

#include "examples/engine/counters.h"

namespace mrpool::iser_target {

#define MRPOOL_ISER_COUNTERS(X)                                 \
  X(logins, "that succeeded")                                   \
  X(refused_logins, "that failed")                              \
  X(commands, "SCSI commands")                                  \
  X(reads, "commands that read and succeeded")                  \
  X(writes, "commands that wrote and succeeded")                \
  X(copies, "commands that copied and succeeded")               \
  X(bytes_read, "by these")                                     \
  X(bytes_written, "by these")                                  \
  X(check_conditions, "commands that ended in CHECK CONDITION") \
  X(aborted, "commands that ended without an answer")           \
  X(rejects, "Reject PDUs sent")                                \
  X(protocol_errors, "of peers; each ends its connection")

MRPOOL_DEFINE_COUNTERS(Counters, Totals, MRPOOL_ISER_COUNTERS)

}  // namespace mrpool::iser_target
