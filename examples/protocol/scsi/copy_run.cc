#include "examples/protocol/scsi/copy_run.h"

#include <algorithm>

namespace mrpool::scsi {
namespace {

// Where a segment descriptor names them.
constexpr uint16_t kUnitField[] = {4, 6};  // by CopySide
constexpr uint16_t kLbaField[] = {12, 20};
constexpr uint16_t kBlocksField = 10;
constexpr uint16_t kBlockSizeField = 29;  // in a CSCD descriptor

// The unit has no access to its medium: another port may have it.
bool is_away(const Sense& sense) {
  return sense.same_code(kPortUnavailable) || sense.same_code(kPortStandby) ||
         sense.same_code(kAccessTransition);
}

uint16_t index_of(const CopySegment& segment, CopySide side) {
  return side == CopySide::kSource ? segment.source : segment.destination;
}

uint64_t lba_of(const CopySegment& segment, CopySide side) {
  return side == CopySide::kSource ? segment.source_lba : segment.destination_lba;
}

constexpr CopySide kSides[] = {CopySide::kSource, CopySide::kDestination};

}  // namespace

const CopyUnit& CopyRun::unit(CopySide side) const {
  return list_.units[index_of(segment(), side)];
}

Sense CopyRun::aborted(const Sense& code) const {
  Sense sense = code;
  sense.segment = uint16_t(segment_);
  if (moved_ != 0) {
    sense.information = (bytes_ - in_order()) / places_[size_t(CopySide::kDestination)].block_size;
  }
  return sense;
}

std::optional<Sense> CopyRun::name(CopySide side, const CopyUnit*& name) const {
  if (index_of(segment(), side) >= list_.units.size()) {
    return aborted(kUnreachableCopyTarget.at_segment(kUnitField[size_t(side)]));
  }
  name = &unit(side);
  if (name->null) return unreachable(side);
  if (name->device_type != 0) return aborted(kWrongCopyUnitType.at_parameter(name->at));
  return std::nullopt;
}

std::optional<Sense> CopyRun::open(const Place& source, const Place& destination, bool same_store) {
  const CopySegment& current = segment();
  const uint64_t bytes = uint64_t{current.blocks} *
                         (current.destination_blocks ? destination.block_size : source.block_size);
  const Place places[] = {source, destination};
  for (const CopySide side : kSides) {
    const Place& place = places[size_t(side)];
    const CopyUnit& named = unit(side);
    if (named.block_size != 0 && named.block_size != place.block_size) {
      return aborted(kWrongCopyUnit.at_parameter(uint16_t(named.at + kBlockSizeField)));
    }
  }
  for (const CopySide side : kSides) {
    const Place& place = places[size_t(side)];
    // Residues are not kept for other segments, and nothing is padded.
    if (bytes % place.block_size != 0) return aborted(kInexactSegment.at_segment(kBlocksField));
    if (bytes != 0 && !holds(place.blocks, lba_of(current, side), bytes / place.block_size)) {
      return aborted(kWrongSegment.at_segment(kLbaField[size_t(side)]));
    }
  }
  std::ranges::copy(places, places_);
  bytes_ = bytes;
  moved_ = part_ = 0;
  open_ = true;
  const uint64_t from = current.source_lba * source.block_size;
  const uint64_t to = current.destination_lba * destination.block_size;
  descending_ = same_store && bytes != 0 && from < to && to - from < bytes;
  if (bytes == 0) moved();
  return std::nullopt;
}

void CopyRun::part(uint64_t most) { part_ = std::min(bytes_ - moved_, most); }

Range CopyRun::blocks(CopySide side) const {
  const uint64_t offset = descending_ ? bytes_ - moved_ - part_ : moved_;
  const uint32_t size = places_[size_t(side)].block_size;
  return {.lba = lba_of(segment(), side) + offset / size, .blocks = part_ / size};
}

void CopyRun::moved() {
  moved_ += part_;
  part_ = 0;
  if (moved_ != bytes_) return;
  copied_ += bytes_;
  bytes_ = moved_ = 0;
  open_ = false;
  ++segment_;
}

Sense CopyRun::unreachable(CopySide side) const {
  return aborted(kCopyUnitNotReachable.at_parameter(unit(side).at));
}

Sense CopyRun::refused(CopySide side, const Plan& answer) const {
  const bool checked = answer.status == Status::kCheckCondition;
  if (checked && is_away(answer.sense)) return unreachable(side);
  Sense sense = aborted(kThirdPartyFailure.at_parameter(unit(side).at));
  sense.forwarded = {
      .by = side == CopySide::kSource ? Forwarded::By::kSource : Forwarded::By::kDestination,
      .status = answer.status,
      .key = checked ? answer.sense.key : SenseKey::kNoSense,
      .asc = checked ? answer.sense.asc : uint8_t{0},
      .ascq = checked ? answer.sense.ascq : uint8_t{0}};
  return sense;
}

uint16_t CopyRun::segments_processed() const { return uint16_t(segment_ + (open_ ? 1 : 0)); }

}  // namespace mrpool::scsi
