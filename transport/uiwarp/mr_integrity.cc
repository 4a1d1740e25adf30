#include "transport/uiwarp/mr_integrity.h"

#include <algorithm>

namespace mrpool::uiwarp {
namespace {

using Verdict = IntegrityReport::Verdict;

// The slot of the registration that vouches for `sge`; null when it has ended.
const KeySlot* base_of(const KeyTable& keys, const Sge& sge) {
  const KeySlot* slot = keys.slot_of(sge.lkey.value);
  if (slot == nullptr || slot->live.load(std::memory_order_acquire) != sge.lkey.value) {
    return nullptr;
  }
  return slot;
}

bool all_live(const KeyTable& keys, std::span<const Sge> list) {
  return std::ranges::all_of(list, [&](const Sge& sge) { return base_of(keys, sge) != nullptr; });
}

}  // namespace

std::unique_ptr<MrIntegrity> MrIntegrity::create(SegmentArena& arena, uint32_t data_segments,
                                                 const IntegrityCapacity& capacity) {
  std::unique_ptr<MrIntegrity> made(new MrIntegrity(arena, data_segments, capacity));
  made->room_ = arena.reserve(made->room_segments());
  if (made->room_ == nullptr) return nullptr;
  made->data_ = reinterpret_cast<Sge*>(made->room_);
  made->protection_ = made->data_ + data_segments;
  made->tuples_ = reinterpret_cast<std::byte*>(made->protection_ + capacity.protection_segments);
  return made;
}

MrIntegrity::~MrIntegrity() {
  if (room_ != nullptr) arena_.release(room_, room_segments(), touched_);
}

uint32_t MrIntegrity::room_segments() const {
  static_assert(alignof(Sge) <= alignof(Segment));
  const uint64_t bytes = sizeof(Sge) * (uint64_t{data_segments_} + capacity_.protection_segments) +
                         uint64_t{kTupleBytes} * capacity_.blocks;
  return static_cast<uint32_t>(bytes / sizeof(Segment) + 1);
}

PostStatus MrIntegrity::map(IntegrityFlow flow, std::span<const Sge> data,
                            std::span<const Sge> protection,
                            const IntegrityAttributes& attributes) {
  phase_ = Phase::kNone;
  const PostStatus status =
      check_protected_lists(capacity_, data_segments_, data, protection, attributes);
  if (status != PostStatus::kOk) return status;
  std::ranges::copy(data, data_);
  std::ranges::copy(protection, protection_);
  data_count_ = static_cast<uint32_t>(data.size());
  protection_count_ = static_cast<uint32_t>(protection.size());
  uint64_t bytes = 0;
  for (const Sge& sge : data) bytes += sge.length;
  blocks_ = static_cast<uint32_t>(bytes / attributes.block_size);
  flow_ = flow;
  attributes_ = attributes;
  touched_ = true;
  phase_ = Phase::kMapped;
  return PostStatus::kOk;
}

PostStatus MrIntegrity::check_register(const KeyTable& keys, Access access, Access& bases) const {
  // A key that works the other way round would give away, or take, what nobody has checked.
  const bool out = flow_ == IntegrityFlow::kToWire;
  constexpr Access kIn = Access::kRemoteWrite | Access::kRemoteAtomic;
  constexpr Access kOut = Access::kRemoteRead | Access::kRemoteAtomic;
  if (any(access & (out ? kIn : kOut))) return PostStatus::kBadIntegrity;
  if (!out && !any(access & Access::kLocalWrite)) return PostStatus::kBadIntegrity;
  for (const Sge& sge : protection()) {
    const KeySlot* base = base_of(keys, sge);
    if (base == nullptr) return PostStatus::kBadKey;
    bases |= base->access;
  }
  return any(denied(keys)) ? PostStatus::kAccessDenied : PostStatus::kOk;
}

Access MrIntegrity::denied(const KeyTable& keys) const {
  if (!mapped() || flow_ == IntegrityFlow::kToWire) return Access::kNone;
  const bool writable = std::ranges::all_of(protection(), [&](const Sge& sge) {
    const KeySlot* base = base_of(keys, sge);
    return base == nullptr || any(base->access & Access::kLocalWrite);
  });
  return writable ? Access::kNone : Access::kLocalWrite;
}

bool MrIntegrity::open(const KeyTable& keys) {
  phase_ = Phase::kNone;
  if (!all_live(keys, protection())) return false;
  found_ = flow_ == IntegrityFlow::kToWire ? convert() : std::nullopt;
  phase_ = Phase::kOpened;
  return true;
}

IntegrityReport MrIntegrity::finish(const KeyTable& keys) {
  if (phase_ != Phase::kOpened) return {};
  phase_ = Phase::kNone;
  if (flow_ == IntegrityFlow::kFromWire) {
    if (!all_live(keys, data()) || !all_live(keys, protection())) return {};
    found_ = convert();
  }
  if (found_) return {Verdict::kBad, *found_};
  return {Verdict::kGood, {}};
}

std::optional<IntegrityError> MrIntegrity::convert() {
  const Sge wire{tuples_, blocks_ * kTupleBytes, {}};
  const std::span<const Sge> on_wire(&wire, attributes_.wire.protection ? 1 : 0);
  const bool out = flow_ == IntegrityFlow::kToWire;
  return convert_protection(attributes_, flow_, data(), out ? protection() : on_wire,
                            out ? on_wire : protection());
}

}  // namespace mrpool::uiwarp
