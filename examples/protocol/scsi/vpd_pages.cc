#include "examples/protocol/scsi/vpd_pages.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <string>

#include "examples/base/big_endian.h"
#include "examples/protocol/scsi/third_party_copy.h"

namespace mrpool::scsi {
namespace {

void put(std::vector<uint8_t>& data, size_t at, std::string_view text) {
  std::ranges::copy(text, data.begin() + ptrdiff_t(at));
}

std::vector<uint8_t> page(uint8_t code, size_t size) {
  std::vector<uint8_t> data(4 + size);
  data[1] = code;
  be::store16(&data[2], uint16_t(size));
  return data;
}

enum Association : uint8_t { kLogicalUnit = 0x00, kTargetPort = 0x10, kTargetDevice = 0x20 };
enum CodeSet : uint8_t { kBinary = 1, kAscii = 2, kUtf8 = 3 };
constexpr uint8_t kIscsi = 0x50;  // PROTOCOL IDENTIFIER 5
constexpr uint8_t kProtocolValid = 0x80;

void designator(std::vector<uint8_t>& data, Association association, CodeSet code_set, uint8_t type,
                const std::vector<uint8_t>& value) {
  const bool of_port = association != kLogicalUnit;
  data.push_back((of_port ? kIscsi : 0) | code_set);
  data.push_back((of_port ? kProtocolValid : 0) | association | type);
  data.push_back(0);
  data.push_back(uint8_t(value.size()));
  data.insert(data.end(), value.begin(), value.end());
}

// SCSI name strings are NUL-ended and padded to a multiple of four (SPC-4 §7.8.6.11).
std::vector<uint8_t> name_string(std::string_view name) {
  std::vector<uint8_t> value(name.begin(), name.end());
  do value.push_back(0);
  while (value.size() % 4 != 0);
  return value;
}

std::vector<uint8_t> unit_serial_number(const UnitFacts& unit) {
  std::vector<uint8_t> data = page(0x80, unit.serial.size());
  put(data, 4, unit.serial);
  return data;
}

std::vector<uint8_t> device_identification(const UnitFacts& unit) {
  std::vector<uint8_t> data = page(0x83, 0);
  std::vector<uint8_t> vendor_id(kVendor.begin(), kVendor.end());
  vendor_id.insert(vendor_id.end(), unit.serial.begin(), unit.serial.end());
  designator(data, kLogicalUnit, kAscii, 0x1, vendor_id);
  designator(data, kLogicalUnit, kBinary, 0x3, unit.naa);
  // UUID of the unit (SPC-5 §7.7.6.13).
  std::vector<uint8_t> uuid{0x10, 0x00};
  uuid.insert(uuid.end(), unit.uuid.begin(), unit.uuid.end());
  designator(data, kLogicalUnit, kBinary, 0xa, uuid);
  const auto of_port = [&data](uint8_t type, uint16_t number) {
    designator(data, kTargetPort, kBinary, type, {0, 0, uint8_t(number >> 8), uint8_t(number)});
  };
  of_port(0x4, unit.relative_port);
  of_port(0x5, unit.port_group);
  std::array<char, 16> group;
  std::snprintf(group.data(), group.size(), ",t,0x%04x", unit.portal_group_tag);
  designator(data, kTargetPort, kUtf8, 0x8, name_string(unit.target_name + group.data()));
  designator(data, kTargetDevice, kUtf8, 0x8, name_string(unit.target_name));
  be::store16(&data[2], uint16_t(data.size() - 4));
  return data;
}

std::vector<uint8_t> extended_inquiry(const UnitFacts& unit) {
  std::vector<uint8_t> data = page(0x86, 0x3c);
  data[5] = 0x01;  // SIMPSUP
  data[6] = 0x01;  // V_SUP: there may be a volatile cache, and SYNCHRONIZE CACHE empties it
  if (unit.marks) data[6] |= 0x08;  // WU_SUP: WRITE LONG with WR_UNCOR
  return data;
}

std::vector<uint8_t> third_party_copies(const UnitFacts&) { return third_party_copy_page(); }

std::vector<uint8_t> block_limits(const UnitFacts& unit) {
  std::vector<uint8_t> data = page(0xb0, 0x3c);
  data[4] = 0x01;  // WSNZ: WRITE SAME of zero blocks is refused
  data[5] = uint8_t(std::min(kMaxCompareBlocks, unit.max_transfer_blocks / 2));
  be::store32(&data[8], unit.max_transfer_blocks);
  be::store32(&data[12], unit.max_transfer_blocks);
  if (unit.thin) {  // zero: there is no UNMAP (SBC-3 §6.6.3)
    be::store32(&data[20], kMaxUnmapBlocks);
    be::store32(&data[24], kMaxUnmapDescriptors);
    be::store32(&data[28], 1);
  }
  be::store64(&data[36], kMaxWriteSameBlocks);
  return data;
}

std::vector<uint8_t> block_characteristics(const UnitFacts&) {
  std::vector<uint8_t> data = page(0xb1, 0x3c);
  be::store16(&data[4], 1);  // no rotating medium
  return data;
}

std::vector<uint8_t> logical_block_provisioning(const UnitFacts& unit) {
  std::vector<uint8_t> data = page(0xb2, 4);
  if (unit.thin) {
    data[5] = 0xe4;  // LBPU, LBPWS, LBPWS10, LBPRZ
    data[6] = 0x02;  // thin
  }
  return data;
}

struct VpdPage {
  uint8_t code;
  std::vector<uint8_t> (*make)(const UnitFacts& unit);
};

std::vector<uint8_t> supported_pages(const UnitFacts& unit);

constexpr VpdPage kPages[] = {
    {0x00, supported_pages},       {0x80, unit_serial_number},
    {0x83, device_identification}, {0x86, extended_inquiry},
    {0x8f, third_party_copies},    {0xb0, block_limits},
    {0xb1, block_characteristics}, {0xb2, logical_block_provisioning},
};
static_assert(std::ranges::is_sorted(kPages, {}, &VpdPage::code));

std::vector<uint8_t> supported_pages(const UnitFacts&) {
  std::vector<uint8_t> data = page(0x00, std::size(kPages));
  std::ranges::transform(kPages, data.begin() + 4, &VpdPage::code);
  return data;
}

}  // namespace

std::optional<Sense> vital_product_data(uint8_t code, const UnitFacts& unit,
                                        std::vector<uint8_t>& data) {
  const auto* found = std::ranges::find(kPages, code, &VpdPage::code);
  if (found == std::end(kPages)) return kInvalidFieldInCdb.at_cdb(2);
  data = found->make(unit);
  return std::nullopt;
}

}  // namespace mrpool::scsi
