// What a Qp and a pool must have to carry an RwContext's limits: the sums, term by term.
#include <algorithm>

#include "mrpool/rw.h"
#include "pool/rw_plan.h"

namespace mrpool {

RwQueueNeeds rw_queue_needs(const DeviceCaps& caps, const RwLimits& limits) {
  const RwShape read = rw_shape(caps, limits, RwDirection::kRead);
  const RwShape write = rw_shape(caps, limits, RwDirection::kWrite);
  const RwShape protected_read = rw_integrity_shape(caps, RwDirection::kRead);
  const RwShape protected_write = rw_integrity_shape(caps, RwDirection::kWrite);
  // A protected operation is one step, which may take more slots than a step of another one.
  const uint64_t read_slots = std::max(read.slots(), limits.integrity ? protected_read.slots() : 0);
  const uint64_t write_slots =
      std::max(write.slots(), limits.integrity ? protected_write.slots() : 0);
  const uint64_t operations = std::max(limits.max_operations, 1u);
  // Beyond every device, and small enough for the sums below.
  constexpr uint64_t kMany = uint64_t{1} << 40;
  const uint64_t all_read_steps = std::min(operations * read.max_steps, kMany);
  const uint64_t all_write_steps = std::min(operations * write.max_steps, kMany);
  // READs in flight are bounded by the credits too.
  const uint64_t read_steps =
      std::min<uint64_t>(all_read_steps, std::max<uint16_t>(caps.max_ord, 1));

  // An operation either reads or writes. With `r` READ steps in flight, from as many operations,
  // the others write at most.
  const uint64_t readers = std::min(read_steps, operations);
  const uint64_t all_writing = all_write_steps * write_slots;
  const uint64_t all_reading =
      read_steps * read_slots +
      std::min((operations - readers) * write.max_steps, kMany) * write_slots;
  const uint64_t most = std::max(all_writing, all_reading);
  // More than the device's queue holds cannot be had; operations wait for slots then. One step of
  // each kind must fit.
  const uint64_t least = std::max(read_slots, write_slots);

  RwQueueNeeds needs;
  needs.send_wr = uint32_t(std::max(std::min<uint64_t>(most, caps.max_qp_wr), least));
  needs.send_sge =
      std::max(read.through_mr ? 1 : read.max_sge, write.through_mr ? 1 : write.max_sge);
  needs.pool_mrs = uint32_t(
      std::min(std::max(read.through_mr ? read_steps : 0, write.through_mr ? all_write_steps : 0),
               uint64_t{UINT32_MAX}));
  needs.pool_segments = std::max(read.through_mr ? read.max_mr_segments : 0,
                                 write.through_mr ? write.max_mr_segments : 0);
  needs.pool_access = read.mr_access | write.mr_access;
  if (limits.integrity) {
    needs.integrity_mrs = uint32_t(std::min(operations, uint64_t{UINT32_MAX}));
    needs.integrity_access = protected_read.mr_access | protected_write.mr_access;
  }
  needs.sink_access =
      local_access_for(BufferRole::kReadSink, caps.read_sink_needs_remote_write &&
                                                  caps.registration != Registration::kFastReg);
  return needs;
}

RwTransferNeeds rw_transfer_needs(const DeviceCaps& caps, const RwLimits& limits,
                                  RwDirection direction, uint64_t bytes, uint32_t segments) {
  const RwShape shape = rw_shape(caps, limits, direction);
  RwTransferNeeds needs;
  needs.requests = rw_steps(shape, bytes, segments);
  needs.work_requests = needs.requests * shape.slots();
  needs.mrs = shape.through_mr && bytes > 0 ? needs.requests : 0;
  return needs;
}

}  // namespace mrpool
