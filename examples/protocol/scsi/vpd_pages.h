// INQUIRY's vital product data pages (SPC-4 §7.8, SBC-3 §6.6). vpd_pages.cc holds the table of
// them, from which page 00 is made; to add one: a function and its line.
//
// Thread safety: pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "examples/protocol/scsi/sense.h"
#include "examples/protocol/scsi/unit.h"

namespace mrpool::scsi {

// VENDOR IDENTIFICATION, padded.
inline constexpr std::string_view kVendor = "MRPOOL  ";

// Page `code`, whole; or what is wrong with the CDB when there is no such page.
std::optional<Sense> vital_product_data(uint8_t code, const UnitFacts& unit,
                                        std::vector<uint8_t>& data);

}  // namespace mrpool::scsi
