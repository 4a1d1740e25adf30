// What a SCSI target device answers without one of its logical units: where LUNs come from, and the
// commands that need no particular unit.
//
// Thread safety: pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "examples/protocol/scsi/logical_unit.h"

namespace mrpool::scsi {

// A LUN in the eight bytes of a SAM-5 LUN structure, and back. Single level, peripheral or flat
// addressing; nothing for anything else.
std::optional<uint16_t> decode_lun(uint64_t structure);
uint64_t encode_lun(uint16_t lun);

// REPORT LUNS, whichever LUN it is sent to; `luns` are the units there are, in order.
Plan report_luns(const Cdb& cdb, std::span<const uint16_t> luns, std::vector<uint8_t>& data_in);
// Any command to a LUN that does not exist (SAM-5 §5.11).
Plan without_unit(const Cdb& cdb, std::vector<uint8_t>& data_in);

}  // namespace mrpool::scsi
