#include "pool/rw_plan.h"

#include <algorithm>

namespace mrpool {
namespace {

constexpr uint64_t divide_up(uint64_t a, uint64_t b) { return (a + b - 1) / b; }

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

  // A step ends because it has all segments it can name, or all bytes. Where gaps cannot be mapped
  // every segment may need a step of its own.
  const uint64_t per_step = !shape.through_mr ? shape.max_sge
                            : caps.sg_gaps    ? shape.max_mr_segments
                                              : 1;
  const uint64_t by_segments = divide_up(std::max(limits.max_segments, 1u), per_step);
  const uint64_t by_bytes = divide_up(std::max(limits.max_transfer, 1u), shape.max_bytes);
  shape.max_steps = uint32_t(by_segments + by_bytes - 1);
  return shape;
}

std::span<const Sge> RwCursor::peek(uint32_t max_sges, uint64_t max_bytes,
                                    std::span<Sge> scratch) const {
  const uint64_t limit = std::min(max_bytes, left_);
  uint64_t bytes = 0;
  size_t count = 0;
  bool whole = offset_ == 0;
  for (size_t i = index_; i < local_.size() && count < max_sges && bytes < limit; ++i, ++count) {
    const uint32_t skip = count == 0 ? offset_ : 0;
    const uint64_t length = std::min<uint64_t>(local_[i].length - skip, limit - bytes);
    whole = whole && length == local_[i].length;
    bytes += length;
  }
  if (whole) return local_.subspan(index_, count);
  bytes = 0;
  for (size_t n = 0; n < count; ++n) {
    const Sge& from = local_[index_ + n];
    const uint32_t skip = n == 0 ? offset_ : 0;
    const uint64_t length = std::min<uint64_t>(from.length - skip, limit - bytes);
    scratch[n] = {from.addr + skip, uint32_t(length), from.lkey};
    bytes += length;
  }
  return scratch.first(count);
}

void RwCursor::advance(uint64_t bytes) {
  left_ -= bytes;
  remote_.value += bytes;
  while (bytes > 0) {
    const uint64_t here = std::min<uint64_t>(bytes, local_[index_].length - offset_);
    offset_ += uint32_t(here);
    bytes -= here;
    skip_empty();
  }
}

// Stands at a segment with something left, or behind the last.
void RwCursor::skip_empty() {
  while (index_ < local_.size() && offset_ == local_[index_].length) {
    ++index_;
    offset_ = 0;
  }
}

uint64_t total_length(std::span<const Sge> sges) {
  uint64_t total = 0;
  for (const Sge& sge : sges) total += sge.length;
  return total;
}

}  // namespace mrpool
