#include "pool/rw_plan.h"

#include <algorithm>

namespace mrpool {
namespace {

constexpr uint64_t divide_up(uint64_t a, uint64_t b) { return a / b + (a % b != 0 ? 1 : 0); }

// Requests gather no more than this, so that send queues stay small where a device allows much.
constexpr uint32_t kMaxSgePerRequest = 16;

}  // namespace

RwShape rw_shape(const DeviceCaps& caps, const RwLimits& limits, RwDirection direction) {
  const bool read = direction == RwDirection::kRead;
  // The sink of a READ is a buffer the peer writes (iWARP): only a key scoped to this READ should
  // allow that. Everywhere else the base registration's lkey is enough.
  const bool sink_needs_key =
      read && caps.read_sink_needs_remote_write && caps.registration == Registration::kFastReg;
  // A memory window names memory to peers only; there is nothing to force.
  const bool forced = limits.force_mr && caps.registration != Registration::kMemoryWindow;

  RwShape shape;
  shape.through_mr = sink_needs_key || forced;
  shape.registers = shape.through_mr && caps.registration == Registration::kFastReg;
  shape.ends_itself = shape.registers && read && caps.read_with_inv;
  shape.mr_access = !shape.through_mr
                        ? Access::kNone
                        : local_access_for(read ? BufferRole::kReadSink : BufferRole::kSource,
                                           caps.read_sink_needs_remote_write);
  shape.max_sge = std::clamp(std::min(read ? caps.max_read_sge : caps.max_sge, limits.max_segments),
                             1u, kMaxSgePerRequest);
  shape.max_mr_segments =
      std::clamp(caps.max_fast_reg_segments, 1u, std::max(limits.max_segments, 1u));
  shape.max_bytes = std::max<uint64_t>(caps.max_message, 1);

  shape.gaps = caps.sg_gaps;
  shape.max_steps = uint32_t(rw_steps(shape, limits.max_transfer, limits.max_segments));
  return shape;
}

RwShape rw_integrity_shape(const DeviceCaps& caps, RwDirection direction) {
  const bool read = direction == RwDirection::kRead;
  RwShape shape;
  shape.through_mr = true;
  shape.registers = caps.registration == Registration::kFastReg;
  shape.ends_itself = shape.registers && read && caps.read_with_inv;
  shape.mr_access = local_access_for(read ? BufferRole::kReadSink : BufferRole::kSource,
                                     caps.read_sink_needs_remote_write);
  return shape;
}

uint64_t rw_steps(const RwShape& shape, uint64_t bytes, uint64_t segments) {
  // A step ends because it has all segments it can name, or all bytes. Where gaps cannot be mapped
  // every segment may need a step of its own.
  const uint64_t per_step = !shape.through_mr ? shape.max_sge
                            : shape.gaps      ? shape.max_mr_segments
                                              : 1;
  const uint64_t by_segments = divide_up(std::max<uint64_t>(segments, 1), per_step);
  const uint64_t by_bytes = divide_up(std::max<uint64_t>(bytes, 1), shape.max_bytes);
  return by_segments + by_bytes - 1;
}

std::span<const Sge> RwCursor::peek(uint32_t max_sges, uint64_t max_bytes,
                                    std::span<Sge> scratch) const {
  const uint64_t limit = std::min(max_bytes, left_);
  const std::span<const Sge> view = at_.view(max_sges, limit);
  if (!view.empty()) return view;
  SegmentIterator at = at_;
  size_t count = 0;
  for (uint64_t bytes = 0; count < max_sges && bytes < limit; ++count) {
    scratch[count] = at.front(limit - bytes);
    bytes += scratch[count].length;
    at.advance(scratch[count].length);
  }
  return scratch.first(count);
}

void RwCursor::advance(uint64_t bytes) {
  left_ -= bytes;
  remote_.value += bytes;
  if (left_ > 0) at_.advance(bytes);
}

uint64_t total_length(std::span<const Sge> sges) {
  uint64_t total = 0;
  for (const Sge& sge : sges) total += sge.length;
  return total;
}

}  // namespace mrpool
