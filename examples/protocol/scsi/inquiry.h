// INQUIRY: standard data (SPC-4 §6.6). vpd_pages.h has the vital product data.
//
// Thread safety: pure.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "examples/protocol/scsi/opcodes.h"
#include "examples/protocol/scsi/sense.h"
#include "examples/protocol/scsi/unit.h"

namespace mrpool::scsi {

// The whole data for the INQUIRY `cdb`, to be cut to the allocation length; or what is wrong with
// it.
std::optional<Sense> inquiry(const Cdb& cdb, const UnitFacts& unit, std::vector<uint8_t>& data);

// Standard data for a LUN that does not exist: peripheral qualifier 3 (SPC-4 §6.6.2).
std::vector<uint8_t> inquiry_of_nothing();

}  // namespace mrpool::scsi
