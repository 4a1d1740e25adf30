// EXTENDED COPY(LID1): its parameter list, its limits, and what announces them.
//
// The copy manager of a unit copies between the units of its target. It takes identification
// descriptors for units (E4h), by the names of VPD page 83h, and segments from block device to
// block device (02h).
//
// Thread safety: pure. Units: blocks and bytes, as named. Clauses: SPC-4 5.17, 6.4.5, 6.4.6, 6.5,
// 6.22 and 7.8.17.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "examples/protocol/scsi/sense.h"
#include "examples/protocol/scsi/unit.h"

namespace mrpool::scsi {

inline constexpr size_t kCopyHeaderSize = 16;
inline constexpr size_t kCopyUnitSize = 32;
inline constexpr size_t kCopySegmentSize = 28;

// What a parameter list may have.
inline constexpr uint16_t kMaxCopyUnits = 16;
inline constexpr uint16_t kMaxCopySegments = 128;
inline constexpr uint32_t kMaxCopyDescriptors =
    kMaxCopyUnits * kCopyUnitSize + kMaxCopySegments * kCopySegmentSize;
// What the block count of a segment can name, with the largest blocks there are.
inline constexpr uint32_t kMaxCopySegmentBytes = 0xffff * 4096u;
inline constexpr uint8_t kCopyGranularity = 9;  // log2 of the smallest blocks there are
// Copies that a unit's copy manager carries out at a time, for all initiators.
inline constexpr uint8_t kMaxCopies = 64;

// A CSCD descriptor: the name of a unit that is a copy source or destination.
struct CopyUnit {
  static constexpr size_t kMaxDesignator = 20;

  uint16_t at = 0;  // in the parameter list
  uint8_t device_type = 0;
  bool null = false;  // stands for no unit
  uint8_t code_set = 0;
  uint8_t association = 0;
  uint8_t designator_type = 0;
  std::vector<uint8_t> designator{};
  uint32_t block_size = 0;  // 0: not given
};

struct CopySegment {
  uint16_t source = 0;  // indices of units
  uint16_t destination = 0;
  uint16_t blocks = 0;
  bool destination_blocks = false;  // DC: they are blocks of the destination
  uint64_t source_lba = 0;
  uint64_t destination_lba = 0;
};

struct CopyList {
  uint8_t id = 0;
  bool identified = false;  // RECEIVE COPY STATUS may ask for it
  std::vector<CopyUnit> units{};
  std::vector<CopySegment> segments{};
};

// What is wrong with the parameter list; nothing: it is in `to`.
std::optional<Sense> parse_copy_list(std::span<const uint8_t> list, CopyList& to);
// Whether the unit announces this name.
bool is_named(const UnitFacts& facts, const CopyUnit& name);

// Parameter data of RECEIVE COPY OPERATING PARAMETERS.
std::vector<uint8_t> copy_operating_parameters();
// VPD page 8Fh.
std::vector<uint8_t> third_party_copy_page();

}  // namespace mrpool::scsi
