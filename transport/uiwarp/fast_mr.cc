#include "transport/uiwarp/fast_mr.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "transport/uiwarp/check.h"

namespace mrpool::uiwarp {

namespace {

constexpr uintptr_t kPage = 4096;

bool on_page(const std::byte* p) { return reinterpret_cast<uintptr_t>(p) % kPage == 0; }

// grant()'s decision without its message: the data path makes no strings.
bool grantable(Access access, const AccessSupport& support) {
  return !any(forbidden(access) | (mandatory(access) & ~support.known));
}

}  // namespace

absl::StatusOr<std::unique_ptr<UiwarpFastMr>> UiwarpFastMr::create(KeyTable& keys,
                                                                   SegmentArena& arena,
                                                                   const Pd& home, uint64_t pd,
                                                                   const DeviceCaps& caps,
                                                                   const FastMrOptions& options) {
  Granted granted;
  if (absl::Status status = grant(options.ceiling, caps.access, granted); !status.ok()) {
    return status;
  }
  if (options.max_segments == 0 || options.max_segments > caps.max_fast_reg_segments) {
    return absl::InvalidArgumentError(absl::StrCat("max_segments ", options.max_segments,
                                                   " is outside 1..", caps.max_fast_reg_segments));
  }
  uint32_t stag = 0;
  KeySlot* slot = keys.allocate(stag);
  if (slot == nullptr) {
    return absl::ResourceExhaustedError(
        absl::StrCat("max_mr: all ", KeyTable::kMaxSlots, " keys of the device are in use"));
  }
  std::unique_ptr<UiwarpFastMr> mr(new UiwarpFastMr(keys, arena, slot, stag, pd, caps, options));
  mr->pd_ = &home;
  if (!mr->reserve(mr->staged_) || !mr->reserve(mr->live_)) {
    return absl::ResourceExhaustedError(
        absl::StrCat("no address space for an MR of ", options.max_segments, " segments"));
  }
  return mr;
}

UiwarpFastMr::UiwarpFastMr(KeyTable& keys, SegmentArena& arena, KeySlot* slot, uint32_t stag,
                           uint64_t pd, const DeviceCaps& caps, const FastMrOptions& options)
    : keys_(keys), arena_(arena), slot_(slot), pd_id_(pd), caps_(caps), options_(options) {
  slot_->fast = this;
  lkey_ = {stag};
  rkey_ = {stag};
}

UiwarpFastMr::~UiwarpFastMr() {
  if (live()) KeyTable::close(*slot_);
  // Also when it was closed before: a reactor of another Qp may have found the key open and be
  // about to look at whose it is. What it finds there must not be the slot's next owner.
  if (slot_->qp.load(std::memory_order_relaxed) != 0) keys_.synchronize();
  keys_.release(slot_);
  for (const Mapping& mapping : {staged_, live_}) {
    if (mapping.many == nullptr) continue;
    arena_.release(mapping.many, options_.max_segments, mapping.touched);
  }
}

bool UiwarpFastMr::reserve(Mapping& mapping) {
  if (options_.max_segments <= kInlineSegments) return true;
  mapping.many = arena_.reserve(options_.max_segments);
  return mapping.many != nullptr;
}

// Appends to the staged mapping, which moves to the larger room when the smaller one is full.
void UiwarpFastMr::stage(const Segment& segment) {
  if (staged_.count == kInlineSegments) {
    std::copy_n(staged_.few, kInlineSegments, staged_.many);
    staged_.segments = staged_.many;
    staged_.touched = true;
  }
  staged_.segments[staged_.count++] = segment;
}

size_t UiwarpFastMr::map(std::span<const Sge> segments) {
  if (live() || pending_) return 0;
  staged_.segments = staged_.few;
  staged_.count = 0;
  staged_.length = 0;
  size_t taken = 0;
  for (const Sge& sge : segments) {
    if (sge.length == 0) {
      ++taken;
      continue;
    }
    KeyRange range;
    if (keys_.resolve_local(sge, Access::kNone, {.pd = pd_id_, .qp = 0}, range) !=
        KeyError::kNone) {
      break;  // not memory of a base registration of this Pd
    }
    if (staged_.length + sge.length > caps_.max_message) break;
    Segment* last = staged_.count > 0 ? &staged_.segments[staged_.count - 1] : nullptr;
    if (last != nullptr && last->memory + last->length == sge.addr &&
        last->base_stag == range.stag) {
      last->length += sge.length;
    } else {
      const bool gap =
          last != nullptr && !(on_page(last->memory + last->length) && on_page(sge.addr));
      if (staged_.count == options_.max_segments || (gap && !options_.sg_gaps)) break;
      stage({.memory = sge.addr,
             .length = sge.length,
             .offset = staged_.length,
             .base = range.slot,
             .base_stag = range.stag});
    }
    staged_.length += sge.length;
    ++taken;
  }
  length_ = staged_.length;
  staged_.base =
      staged_.count > 0 ? reinterpret_cast<uintptr_t>(staged_.segments[0].memory) : uint64_t{0};
  remote_addr_ = {staged_.base};
  return staged_.count > 0 ? taken : 0;
}

void UiwarpFastMr::advance_key() {
  check(!pending_, "the key of a pending registration was advanced");
  lkey_.value = keys_.next_stag(*slot_);
  rkey_.value = lkey_.value;
}

Sge UiwarpFastMr::sge() const {
  // Mappings are bounded by max_message, which fits.
  const uint64_t base = live() || pending_ ? (live() ? live_.base : staged_.base) : staged_.base;
  return {reinterpret_cast<std::byte*>(static_cast<uintptr_t>(base)),
          static_cast<uint32_t>(length_), lkey_};
}

absl::Status UiwarpFastMr::renew() {
  pending_ = false;
  if (live()) KeyTable::close(*slot_);
  // Also when it was closed before: the Qp that used it may live on another reactor.
  keys_.synchronize();
  advance_key();
  return absl::OkStatus();
}

PostStatus UiwarpFastMr::check_register(Access access, const KeyUser& user) {
  if (user.pd != pd_id_ || pending_ || live() || staged_.count == 0) return PostStatus::kBadKey;
  if (!grantable(access, caps_.access) || !within_ceiling(access, options_.ceiling)) {
    return PostStatus::kAccessDenied;
  }
  Access bases = Access::kNone;
  for (uint32_t i = 0; i < staged_.count; ++i) {
    const Segment& segment = staged_.segments[i];
    if (segment.base->live.load(std::memory_order_acquire) != segment.base_stag) {
      return PostStatus::kBadKey;
    }
    if (any(access & Access::kLocalWrite) && !any(segment.base->access & Access::kLocalWrite)) {
      return PostStatus::kAccessDenied;
    }
    bases |= segment.base->access;
  }
  pending_ = true;
  pending_qp_ = user.qp;
  pending_access_ = mandatory(access) | (optional(access) & caps_.access.honoured) |
                    (bases & Access::kDisableRelaxedOrdering);
  remote_addr_ = {any(access & Access::kZeroBased) ? 0 : staged_.base};
  return PostStatus::kOk;
}

Access UiwarpFastMr::denied(Access access) const {
  Access refused = forbidden(access) | (mandatory(access) & ~caps_.access.known) |
                   beyond_ceiling(access, options_.ceiling);
  for (uint32_t i = 0; i < staged_.count; ++i) {
    refused |= access & Access::kLocalWrite & ~staged_.segments[i].base->access;
  }
  return refused;
}

bool UiwarpFastMr::open() {
  check(pending_, "a registration was carried out twice");
  pending_ = false;
  for (uint32_t i = 0; i < staged_.count; ++i) {
    const Segment& segment = staged_.segments[i];
    if (segment.base->live.load(std::memory_order_acquire) != segment.base_stag) return false;
  }
  std::swap(staged_, live_);
  slot_->qp.store(pending_qp_, std::memory_order_relaxed);
  slot_->pd = pd_id_;
  slot_->remote_base = remote_addr_.value;
  slot_->local_base = live_.base;
  slot_->length = live_.length;
  slot_->segments = live_.segments;
  slot_->segment_count = live_.count;
  slot_->access = pending_access_;
  keys_.open(*slot_, lkey_.value);
  return true;
}

void UiwarpFastMr::drop() { pending_ = false; }

bool UiwarpFastMr::pending_covers(const Sge& sge, Access rights, const KeyUser& user) const {
  if (!pending_on(user, sge.lkey.value) || !has(pending_access_, rights)) return false;
  const auto at = reinterpret_cast<uintptr_t>(sge.addr);
  const uint64_t offset = at - staged_.base;
  return at >= staged_.base && offset <= staged_.length && sge.length <= staged_.length - offset;
}

}  // namespace mrpool::uiwarp
