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

absl::Status check_integrity_capacity(const DeviceCaps& caps, const IntegrityCapacity& capacity) {
  if (capacity.blocks > caps.max_integrity_blocks) {
    return absl::InvalidArgumentError(absl::StrCat("integrity.blocks ", capacity.blocks,
                                                   " is outside 0..", caps.max_integrity_blocks));
  }
  if (capacity.protection_segments > caps.max_fast_reg_segments) {
    return absl::InvalidArgumentError(absl::StrCat("integrity.protection_segments ",
                                                   capacity.protection_segments, " is outside 0..",
                                                   caps.max_fast_reg_segments));
  }
  return absl::OkStatus();
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
  if (absl::Status status = check_integrity_capacity(caps, options.integrity); !status.ok()) {
    return status;
  }
  uint32_t stag = 0;
  KeySlot* slot = keys.allocate(stag);
  if (slot == nullptr) {
    return absl::ResourceExhaustedError(
        absl::StrCat("max_mr: all ", KeyTable::kMaxSlots, " keys of the device are in use"));
  }
  std::unique_ptr<UiwarpFastMr> mr(new UiwarpFastMr(keys, arena, slot, stag, pd, caps, options));
  mr->pd_ = &home;
  if (options.integrity.blocks > 0) {
    mr->integrity_ = MrIntegrity::create(arena, options.max_segments, options.integrity);
  }
  if (!mr->reserve(mr->staged_) || !mr->reserve(mr->live_) ||
      (options.integrity.blocks > 0 && mr->integrity_ == nullptr)) {
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
  if (of_pd_ || slot_->qp.load(std::memory_order_relaxed) != 0) keys_.synchronize();
  keys_.release(slot_);
  for (const Mapping& mapping : {staged_, live_}) {
    if (mapping.many == nullptr) continue;
    arena_.release(mapping.many, room(), mapping.touched);
  }
}

// Segments that a mapping may have.
uint32_t UiwarpFastMr::room() const {
  return static_cast<uint32_t>(
      MrIntegrity::wire_segments(options_.max_segments, options_.integrity.blocks));
}

bool UiwarpFastMr::reserve(Mapping& mapping) {
  if (room() <= kInlineSegments) return true;
  mapping.many = arena_.reserve(room());
  return mapping.many != nullptr;
}

void UiwarpFastMr::clear_staged() {
  staged_.segments = staged_.few;
  staged_.count = 0;
  staged_.length = 0;
  if (integrity_ != nullptr) integrity_->clear();
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

// Where that memory goes on from the last segment, makes it longer.
bool UiwarpFastMr::extend(std::byte* memory, uint64_t length, uint32_t base_stag) {
  Segment* const last = staged_.count > 0 ? &staged_.segments[staged_.count - 1] : nullptr;
  if (last == nullptr || last->memory + last->length != memory || last->base_stag != base_stag) {
    return false;
  }
  last->length += length;
  staged_.length += length;
  return true;
}

// Requires room for another segment.
void UiwarpFastMr::append(std::byte* memory, uint64_t length, const KeyRange& base) {
  if (extend(memory, length, base.stag)) return;
  stage({.memory = memory,
         .length = length,
         .offset = staged_.length,
         .base = base.slot,
         .base_stag = base.stag});
  staged_.length += length;
}

KeyError UiwarpFastMr::resolve(const Sge& sge, KeyRange& range) const {
  return keys_.resolve_local(sge, Access::kNone, {.pd = pd_id_, .qp = 0}, range);
}

size_t UiwarpFastMr::map(std::span<const Sge> segments) {
  if (live() || pending_) return 0;
  clear_staged();
  size_t taken = 0;
  for (const Sge& sge : segments) {
    if (sge.length == 0) {
      ++taken;
      continue;
    }
    KeyRange range;
    // Not memory of a base registration of this Pd:
    if (resolve(sge, range) != KeyError::kNone) break;
    if (staged_.length + sge.length > caps_.max_message) break;
    if (!extend(sge.addr, sge.length, range.stag)) {
      const Segment* last = staged_.count > 0 ? &staged_.segments[staged_.count - 1] : nullptr;
      const bool gap =
          last != nullptr && !(on_page(last->memory + last->length) && on_page(sge.addr));
      if (staged_.count == options_.max_segments || (gap && !options_.sg_gaps)) break;
      append(sge.addr, sge.length, range);
    }
    ++taken;
  }
  staged_all();
  return staged_.count > 0 ? taken : 0;
}

// What is staged is what the next registration makes reachable.
void UiwarpFastMr::staged_all() {
  length_ = staged_.length;
  staged_.base =
      staged_.count > 0 ? reinterpret_cast<uintptr_t>(staged_.segments[0].memory) : uint64_t{0};
  remote_addr_ = {staged_.base};
}

PostStatus UiwarpFastMr::map_integrity(IntegrityFlow flow, std::span<const Sge> data,
                                       std::span<const Sge> protection,
                                       const IntegrityAttributes& attributes) {
  if (integrity_ == nullptr) return PostStatus::kUnsupported;
  if (live() || pending_) return PostStatus::kBadKey;
  clear_staged();
  staged_all();
  const PostStatus status = integrity_->map(flow, data, protection, attributes);
  if (status != PostStatus::kOk) return status;
  const auto refuse = [this](PostStatus why) {
    clear_staged();
    return why;
  };
  KeyRange range;
  for (const Sge& sge : protection) {
    if (resolve(sge, range) != KeyError::kNone) return refuse(PostStatus::kBadSge);
  }
  uint32_t block = 0;
  uint32_t left = attributes.block_size;
  for (const Sge& sge : data) {
    if (resolve(sge, range) != KeyError::kNone) return refuse(PostStatus::kBadSge);
    stage_wire(sge, range, block, left);
  }
  if (staged_.length > caps_.max_message) return refuse(PostStatus::kTooLong);
  staged_all();
  return PostStatus::kOk;
}

// Appends a piece of data as it is on the wire. `left`: of the block that it goes on with.
void UiwarpFastMr::stage_wire(const Sge& data, const KeyRange& base, uint32_t& block,
                              uint32_t& left) {
  const IntegrityAttributes& attributes = integrity_->attributes();
  if (!attributes.wire.protection) return append(data.addr, data.length, base);
  for (uint32_t used = 0; used < data.length;) {
    const uint32_t bytes = std::min(data.length - used, left);
    append(data.addr + used, bytes, base);
    used += bytes;
    left -= bytes;
    if (left > 0) continue;
    // Memory of this MR: it stays as long as the registration that vouches for its neighbor does
    // for the key.
    append(integrity_->wire_tuple(block++), kTupleBytes, base);
    left = attributes.block_size;
  }
}

IntegrityReport UiwarpFastMr::check_integrity() {
  if (integrity_ == nullptr || live() || pending_) return {};
  return integrity_->finish(keys_);
}

void UiwarpFastMr::advance_key() {
  check(!pending_, "the key of a pending registration was advanced");
  lkey_.value = keys_.next_stag(*slot_);
  rkey_.value = lkey_.value;
}

void UiwarpFastMr::set_key_part(uint8_t part) {
  check(!pending_ && !live(), "the key of a live registration was changed");
  lkey_.value = (lkey_.value & ~uint32_t{0xff}) | part;
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
  if (integrity_ != nullptr) integrity_->clear();
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
  if (integrity_ != nullptr && integrity_->mapped()) {
    const PostStatus status = integrity_->check_register(keys_, access, bases);
    if (status != PostStatus::kOk) return status;
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
  if (integrity_ != nullptr) refused |= integrity_->denied(keys_);
  return refused;
}

bool UiwarpFastMr::open() {
  check(pending_, "a registration was carried out twice");
  pending_ = false;
  for (uint32_t i = 0; i < staged_.count; ++i) {
    const Segment& segment = staged_.segments[i];
    if (segment.base->live.load(std::memory_order_acquire) != segment.base_stag) return false;
  }
  const bool with_integrity = integrity_ != nullptr && integrity_->mapped();
  if (with_integrity && !integrity_->open(keys_)) return false;
  std::swap(staged_, live_);
  if (with_integrity) staged_.count = 0;  // one registration for each mapping
  slot_->qp.store(of_pd_ ? 0 : pending_qp_, std::memory_order_relaxed);
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
