// The planner of RwContext: how one transfer is cut into requests that the device and the peer
// take. Pure: no device, no state beyond the cursor.
//
// A transfer becomes a sequence of steps. Each step is one RDMA READ or WRITE of a consecutive
// range of the peer's buffer, from or to a run of local segments. It names these by their lkeys, or
// by one MR that is registered for the step.
//
// Thread safety: values.
#pragma once

#include <cstdint>
#include <span>

#include "mrpool/rw.h"
#include "mrpool/segments.h"

namespace mrpool {

// What one direction of transfers looks like on a device.
struct RwShape {
  bool through_mr = false;   // local memory is named by an MR of the pool
  bool registers = false;    // ... which takes a kRegMr in front
  bool ends_itself = false;  // ... and the READ ends its key (kRdmaReadWithInv)
  Access mr_access = Access::kNone;
  uint32_t max_sge = 1;  // of a request without an MR
  uint32_t max_mr_segments = 1;
  bool gaps = false;       // one MR takes segments with gaps between them
  uint64_t max_bytes = 1;  // of one request
  uint32_t max_steps = 1;  // of one operation, at worst

  // Send-queue slots that a step occupies until its last completion.
  uint32_t slots() const {
    return 1                                       // the READ or WRITE
           + (registers ? 1 : 0)                   // kRegMr in front
           + (registers && !ends_itself ? 1 : 0);  // kLocalInv behind its completion
  }
};

// The most steps that `bytes` in `segments` segments take.
uint64_t rw_steps(const RwShape& shape, uint64_t bytes, uint64_t segments);

RwShape rw_shape(const DeviceCaps& caps, const RwLimits& limits, RwDirection direction);

// The same of protected transfers, each of which is one step.
RwShape rw_integrity_shape(const DeviceCaps& caps, RwDirection direction);

// Where a transfer stands. The scatter list is borrowed.
class RwCursor {
 public:
  RwCursor() = default;
  // Requires: `local` has `length` bytes.
  RwCursor(const SegmentIterator& local, RemoteAddr remote, uint64_t length)
      : at_(local), remote_(remote), left_(length) {}

  bool done() const { return left_ == 0; }
  uint64_t left() const { return left_; }
  RemoteAddr remote() const { return remote_; }

  // The next run of local memory: at most `max_sges` segments and `max_bytes` bytes, never beyond
  // the transfer. A view of the scatter list where it can be, else built in `scratch`, which has
  // room for `max_sges` or for the transfer's segments.
  std::span<const Sge> peek(uint32_t max_sges, uint64_t max_bytes, std::span<Sge> scratch) const;

  // Moves on. Requires: `bytes` <= left().
  void advance(uint64_t bytes);

 private:
  SegmentIterator at_;
  RemoteAddr remote_;
  uint64_t left_ = 0;
};

uint64_t total_length(std::span<const Sge> sges);

}  // namespace mrpool
