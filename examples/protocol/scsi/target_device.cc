#include "examples/protocol/scsi/target_device.h"

#include <array>

#include "examples/base/big_endian.h"
#include "examples/protocol/scsi/inquiry.h"

namespace mrpool::scsi {
namespace {

constexpr uint16_t kFlatFrom = 256;  // LUNs above need flat space addressing
constexpr uint16_t kMaxLun = 0x3fff;

}  // namespace

std::optional<uint16_t> decode_lun(uint64_t structure) {
  if ((structure & 0x0000ffffffffffff) != 0) return std::nullopt;
  const uint16_t level = uint16_t(structure >> 48);
  switch (level >> 14) {
    case 0:  // peripheral device addressing, bus 0
      if (level >> 8 != 0) return std::nullopt;
      return level & 0xff;
    case 1:  // flat space
      return level & kMaxLun;
    default:
      return std::nullopt;
  }
}

uint64_t encode_lun(uint16_t lun) {
  const uint16_t level = lun < kFlatFrom ? lun : uint16_t(0x4000 | (lun & kMaxLun));
  return uint64_t{level} << 48;
}

LogicalUnit* TargetDevice::find(uint16_t lun) {
  const auto found = units_.find(lun);
  return found == units_.end() ? nullptr : found->second.get();
}

LogicalUnit* TargetDevice::find_structure(uint64_t lun) {
  const auto decoded = decode_lun(lun);
  return decoded ? find(*decoded) : nullptr;
}

LogicalUnit& TargetDevice::add(uint16_t lun, std::unique_ptr<LogicalUnit> unit) {
  for (auto& [number, other] : units_) other->raise_for_all(kLunsChanged);
  return *units_.insert_or_assign(lun, std::move(unit)).first->second;
}

std::unique_ptr<LogicalUnit> TargetDevice::remove(uint16_t lun) {
  auto node = units_.extract(lun);
  for (auto& [number, other] : units_) other->raise_for_all(kLunsChanged);
  return std::move(node.mapped());
}

void TargetDevice::reset(const Sense& attention) {
  for (auto& [number, unit] : units_) unit->reset(attention);
}

Plan TargetDevice::report_luns(const Cdb& cdb, std::vector<uint8_t>& data_in) const {
  const uint8_t select = cdb[2];
  if (select > 2) {
    return {.status = Status::kCheckCondition, .sense = kInvalidFieldInCdb.at_cdb(2)};
  }
  if (be::load32(&cdb[6]) < 16) {
    return {.status = Status::kCheckCondition, .sense = kInvalidFieldInCdb.at_cdb(6)};
  }
  data_in.assign(8, 0);
  if (select != 1) {  // 1: well known units only, and there are none
    for (const auto& [lun, unit] : units_) {
      data_in.resize(data_in.size() + 8);
      be::store64(data_in.data() + data_in.size() - 8, encode_lun(lun));
    }
  }
  be::store32(data_in.data(), uint32_t(data_in.size() - 8));
  return {};
}

Plan TargetDevice::without_unit(const Cdb& cdb, std::vector<uint8_t>& data_in) {
  constexpr uint8_t kInquiry = 0x12, kRequestSense = 0x03;
  if (cdb[0] == kInquiry) {
    if ((cdb[1] & 0x03) != 0 || cdb[2] != 0) {
      return {.status = Status::kCheckCondition, .sense = kInvalidFieldInCdb.at_cdb(1)};
    }
    data_in = inquiry_of_nothing();
    return {};
  }
  if (cdb[0] == kRequestSense) {
    std::array<uint8_t, kMaxSenseSize> bytes;
    const size_t size = encode(kLunNotSupported, (cdb[1] & 0x01) != 0, bytes);
    data_in.assign(bytes.begin(), bytes.begin() + ptrdiff_t(size));
    return {};
  }
  return {.status = Status::kCheckCondition, .sense = kLunNotSupported};
}

}  // namespace mrpool::scsi
