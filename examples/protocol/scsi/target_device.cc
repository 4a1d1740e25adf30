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

Plan report_luns(const Cdb& cdb, std::span<const uint16_t> luns, std::vector<uint8_t>& data_in) {
  const uint8_t select = cdb[2];
  if (select > 2) {
    return {.status = Status::kCheckCondition, .sense = kInvalidFieldInCdb.at_cdb(2)};
  }
  if (be::load32(&cdb[6]) < 16) {
    return {.status = Status::kCheckCondition, .sense = kInvalidFieldInCdb.at_cdb(6)};
  }
  data_in.assign(8, 0);
  if (select != 1) {  // 1: well known units only, and there are none
    for (const uint16_t lun : luns) {
      data_in.resize(data_in.size() + 8);
      be::store64(data_in.data() + data_in.size() - 8, encode_lun(lun));
    }
  }
  be::store32(data_in.data(), uint32_t(data_in.size() - 8));
  return {};
}

Plan without_unit(const Cdb& cdb, std::vector<uint8_t>& data_in) {
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
