#include "examples/protocol/scsi/inquiry.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "examples/base/big_endian.h"
#include "examples/protocol/scsi/vpd_pages.h"

namespace mrpool::scsi {
namespace {

constexpr std::string_view kProduct = "VIRTUAL-DISK    ";
constexpr std::string_view kRevision = "0001";
constexpr uint8_t kSpc4 = 0x06;
constexpr uint8_t kNoDevice = 0x7f;  // qualifier 3, type 1Fh

void put(std::vector<uint8_t>& data, size_t at, std::string_view text) {
  std::ranges::copy(text, data.begin() + ptrdiff_t(at));
}

std::vector<uint8_t> standard(uint8_t peripheral) {
  std::vector<uint8_t> data(96);
  data[0] = peripheral;
  data[2] = kSpc4;
  data[3] = 0x02;  // response data format
  data[4] = uint8_t(data.size() - 5);
  data[7] = 0x02;  // CMDQUE
  put(data, 8, kVendor);
  put(data, 16, kProduct);
  put(data, 32, kRevision);
  // Version descriptors: SAM-5, iSCSI, SPC-4, SBC-3, none with a revision claimed.
  constexpr std::array<uint16_t, 4> kVersions = {0x00a0, 0x0960, 0x0460, 0x04c0};
  for (size_t i = 0; i < kVersions.size(); ++i) be::store16(&data[58 + 2 * i], kVersions[i]);
  return data;
}

}  // namespace

std::vector<uint8_t> inquiry_of_nothing() { return standard(kNoDevice); }

std::optional<Sense> inquiry(const Cdb& cdb, const UnitFacts& unit, std::vector<uint8_t>& data) {
  const bool vital = (cdb[1] & 0x01) != 0;
  if ((cdb[1] & 0x02) != 0) return kInvalidFieldInCdb.at_cdb(1);  // CMDDT, obsolete
  if (!vital) {
    if (cdb[2] != 0) return kInvalidFieldInCdb.at_cdb(2);
    data = standard(0);
    // TPGS: states change without a command, and by one; 3PC.
    data[5] = (unit.explicit_alua ? 0x30 : 0x10) | 0x08;
    return std::nullopt;
  }
  return vital_product_data(cdb[2], unit, data);
}

}  // namespace mrpool::scsi
