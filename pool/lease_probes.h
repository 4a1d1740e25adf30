// Leases of transfers and loans, as a tracer sees them begin and end (docs/operate/tracing.md).
//
// Thread safety: as the lease.
#pragma once

#include "mrpool/internal/probe.h"
#include "mrpool/mr_pool.h"

namespace mrpool {

// `lease` is not empty.
inline void trace_get(const MrPool::Lease& lease) { MRPOOL_PROBE1(mr_get, &lease.mr()); }

// Ends a lease, which may be empty.
inline void end_traced(MrPool::Lease& lease) {
  if (!lease) return;
  MRPOOL_PROBE1(mr_put, &lease.mr());
  lease.reset();
}

}  // namespace mrpool
