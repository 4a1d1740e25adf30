#include "examples/protocol/scsi/third_party_copy.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "examples/base/big_endian.h"
#include "examples/protocol/scsi/opcodes.h"
#include "examples/protocol/scsi/vpd_pages.h"

namespace mrpool::scsi {
namespace {

constexpr uint8_t kExtendedCopyCode = 0x83;
constexpr uint8_t kReceiveCopyCode = 0x84;
constexpr uint8_t kIdentificationDescriptor = 0xe4;
constexpr uint8_t kBlockToBlock = 0x02;
// In ascending order.
constexpr std::array<uint8_t, 2> kDescriptorTypes = {kBlockToBlock, kIdentificationDescriptor};
constexpr uint16_t kSegmentLength = kCopySegmentSize - 4;

constexpr uint8_t kUsageHold = 0, kUsageDiscard = 2, kUsageNone = 3;

// LIST ID USAGE and LIST IDENTIFIER (SPC-4 §6.4.3.2).
std::optional<Sense> parse_identifier(std::span<const uint8_t> list, CopyList& to) {
  to.id = list[0];
  const uint8_t usage = list[1] >> 3 & 3;
  if (usage != kUsageHold && usage != kUsageDiscard && usage != kUsageNone) {
    return kInvalidFieldInParameters.at_parameter(1);
  }
  to.identified = usage != kUsageNone;
  if (!to.identified && to.id != 0) return kInvalidFieldInParameters.at_parameter(0);
  return std::nullopt;
}

std::optional<Sense> parse_unit(std::span<const uint8_t> list, uint16_t at, CopyUnit& to) {
  const std::span<const uint8_t> one = list.subspan(at, kCopyUnitSize);
  if (one[0] != kIdentificationDescriptor) return kUnknownCopyUnit.at_parameter(at);
  const uint8_t length = one[7];
  if (length > CopyUnit::kMaxDesignator) {
    return kInvalidFieldInParameters.at_parameter(uint16_t(at + 7));
  }
  const std::span<const uint8_t> designator = one.subspan(8, length);
  to = {.at = at,
        .device_type = uint8_t(one[1] & 0x1f),
        .null = (one[1] & 0x20) != 0,
        .code_set = uint8_t(one[4] & 0x0f),
        .association = uint8_t(one[5] >> 4 & 3),
        .designator_type = uint8_t(one[5] & 0x0f),
        .designator = {designator.begin(), designator.end()},
        .block_size = be::load24(&one[29])};
  return std::nullopt;
}

CopySegment parse_segment(std::span<const uint8_t> one) {
  return {.source = be::load16(&one[4]),
          .destination = be::load16(&one[6]),
          .blocks = be::load16(&one[10]),
          .destination_blocks = (one[1] & 0x02) != 0,
          .source_lba = be::load64(&one[12]),
          .destination_lba = be::load64(&one[20])};
}

std::optional<Sense> parse_segments(std::span<const uint8_t> list, size_t at, size_t end,
                                    CopyList& to) {
  while (at != end) {
    if (to.segments.size() == kMaxCopySegments) return kTooManySegments.at_parameter(uint16_t(at));
    if (list[at] != kBlockToBlock) return kUnknownSegment.at_parameter(uint16_t(at));
    if (end - at < kCopySegmentSize) return kParameterListLength;
    const std::span<const uint8_t> one = list.subspan(at, kCopySegmentSize);
    if (be::load16(&one[2]) != kSegmentLength) {
      return kInvalidFieldInParameters.at_parameter(uint16_t(at + 2));
    }
    to.segments.push_back(parse_segment(one));
    at += kCopySegmentSize;
  }
  return std::nullopt;
}

bool same(std::span<const uint8_t> designator, std::span<const uint8_t> value) {
  return std::ranges::equal(designator, value);
}

// Both VPD page 8Fh and RECEIVE COPY OPERATING PARAMETERS report the limits of a parameter list.
struct Page {
  std::vector<uint8_t> data{};
  void add(uint64_t value, size_t bytes) {
    for (size_t i = bytes; i-- > 0;) data.push_back(uint8_t(value >> 8 * i));
  }
  void zeroes(size_t bytes) { data.resize(data.size() + bytes); }
};

void add_types(Page& page) {
  page.add(kDescriptorTypes.size(), 1);
  page.data.insert(page.data.end(), kDescriptorTypes.begin(), kDescriptorTypes.end());
}

// A third-party copy descriptor: its length is a multiple of four.
void append(Page& page, uint16_t type, Page parameters) {
  parameters.data.resize((parameters.data.size() + 3) / 4 * 4);
  page.add(type, 2);
  page.add(parameters.data.size(), 2);
  page.data.insert(page.data.end(), parameters.data.begin(), parameters.data.end());
}

// The commands with this operation code.
void add_commands(Page& page, uint8_t opcode) {
  page.add(opcode, 1);
  const size_t count = page.data.size();
  page.add(0, 1);
  for (const Operation& operation : operations()) {
    if (operation.opcode != opcode) continue;
    page.add(uint64_t(operation.service_action), 1);
    ++page.data[count];
  }
}

}  // namespace

std::optional<Sense> parse_copy_list(std::span<const uint8_t> list, CopyList& to) {
  to = {};
  if (list.size() < kCopyHeaderSize) return kParameterListLength;
  if (const auto wrong = parse_identifier(list, to)) return wrong;
  const size_t units = be::load16(&list[2]);
  const size_t segments = be::load32(&list[8]);
  if (be::load32(&list[12]) != 0) return kInlineDataLength.at_parameter(12);
  if (units + segments > kMaxCopyDescriptors) return kParameterListLength;
  if (units + segments > list.size() - kCopyHeaderSize) return kParameterListLength;
  if (units % kCopyUnitSize != 0) return kInvalidFieldInParameters.at_parameter(2);
  if (units / kCopyUnitSize > kMaxCopyUnits) return kTooManyCopyUnits.at_parameter(2);
  const size_t end_of_units = kCopyHeaderSize + units;
  for (size_t at = kCopyHeaderSize; at < end_of_units; at += kCopyUnitSize) {
    if (const auto wrong = parse_unit(list, uint16_t(at), to.units.emplace_back())) return wrong;
  }
  return parse_segments(list, end_of_units, end_of_units + segments, to);
}

bool is_named(const UnitFacts& facts, const CopyUnit& name) {
  constexpr uint8_t kBinary = 1, kAscii = 2;
  constexpr uint8_t kVendorId = 0x1, kNaa = 0x3, kUuid = 0xa;
  if (name.association != 0) return false;  // a port, or the whole target
  const std::span<const uint8_t> given = name.designator;
  if (name.code_set == kBinary && name.designator_type == kNaa) return same(given, facts.naa);
  if (name.code_set == kBinary && name.designator_type == kUuid) {
    return given.size() == 18 && given[0] == 0x10 && given[1] == 0 &&
           same(given.subspan(2), facts.uuid);
  }
  if (name.code_set != kAscii || name.designator_type != kVendorId) return false;
  const std::string_view text(reinterpret_cast<const char*>(given.data()), given.size());
  return text.starts_with(kVendor) && text.substr(kVendor.size()) == facts.serial;
}

std::vector<uint8_t> copy_operating_parameters() {
  Page page;
  page.zeroes(4);  // AVAILABLE DATA
  page.add(1, 1);  // SNLID: a list may be without an identifier
  page.zeroes(3);
  page.add(kMaxCopyUnits, 2);
  page.add(kMaxCopySegments, 2);
  page.add(kMaxCopyDescriptors, 4);
  page.add(kMaxCopySegmentBytes, 4);
  page.zeroes(4);  // no inline data
  page.zeroes(4);  // no held data
  page.zeroes(4);  // no stream devices
  page.zeroes(2);
  page.add(kMaxCopies, 2);  // with or without an identifier
  page.add(kMaxCopies, 1);  // with one
  page.add(kCopyGranularity, 1);
  page.zeroes(5);
  add_types(page);
  be::store32(page.data.data(), uint32_t(page.data.size() - 4));
  return page.data;
}

std::vector<uint8_t> third_party_copy_page() {
  Page page{.data = {0, 0x8f, 0, 0}};
  Page commands;
  add_commands(commands, kExtendedCopyCode);
  add_commands(commands, kReceiveCopyCode);
  commands.data.insert(commands.data.begin(), uint8_t(commands.data.size()));
  append(page, 0x0001, commands);
  Page limits;
  limits.zeroes(8);
  limits.add(kMaxCopyUnits, 2);
  limits.add(kMaxCopySegments, 2);
  limits.add(kMaxCopyDescriptors, 4);
  limits.zeroes(12);  // no inline data; reserved
  append(page, 0x0004, limits);
  Page types;
  add_types(types);
  append(page, 0x0008, types);
  Page ids;  // of units: only those of the parameter list
  ids.zeroes(2);
  append(page, 0x000c, ids);
  Page general;
  general.add(kMaxCopies, 4);
  general.add(kMaxCopies, 4);
  general.add(kMaxCopySegmentBytes, 4);
  general.add(kCopyGranularity, 1);
  general.zeroes(19);
  append(page, 0x8001, general);
  be::store16(&page.data[2], uint16_t(page.data.size() - 4));
  return page.data;
}

}  // namespace mrpool::scsi
