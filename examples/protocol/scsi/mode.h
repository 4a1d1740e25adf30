// Mode parameters: the pages 01 (read-write error recovery), 08 (caching), 0A (control) and 1C
// (informational exceptions), MODE SENSE and MODE SELECT in both lengths (SPC-4 §6.9, §7.5).
//
// Three bits can be changed: WCE (write cache), SWP (software write protect), D_SENSE (sense data
// in descriptor format).
//
// Thread safety: one thread.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "examples/protocol/scsi/opcodes.h"
#include "examples/protocol/scsi/sense.h"
#include "examples/protocol/scsi/unit.h"

namespace mrpool::scsi {

struct ModeState {
  bool write_cache = true;
  bool write_protect = false;
  bool descriptor_sense = false;
  friend bool operator==(const ModeState&, const ModeState&) = default;
};

// The whole mode data, to be cut to the allocation length; `default_state` answers PC=default.
std::optional<Sense> mode_sense(const Cdb& cdb, const UnitFacts& unit, const ModeState& state,
                                const ModeState& default_state, std::vector<uint8_t>& data);

// Applies a parameter list. Nothing changes when a sense comes back.
std::optional<Sense> mode_select(const Cdb& cdb, std::span<const uint8_t> parameters,
                                 const UnitFacts& unit, ModeState& state);

}  // namespace mrpool::scsi
