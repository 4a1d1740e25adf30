// The asymmetric access state (ALUA) of a unit through the port of a session, as a target reports
// it.
//
// Every answer is checked: lists end where the data or the list ends.
//
// Thread safety: pure. Clauses: SPC-4 §6.4.2 (TPGS), §6.37, §7.8.6.8.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "examples/protocol/scsi/access.h"
#include "examples/protocol/scsi/opcodes.h"

namespace mrpool::iser {

// Whether, by its standard INQUIRY data, the unit reports its target port groups.
bool reports_port_groups(std::span<const std::byte> inquiry);

// The target port group of the session's port, among the designators of VPD page 83h.
std::optional<uint16_t> port_group(std::span<const std::byte> designators);

// REPORT TARGET PORT GROUPS, with room for so many bytes.
scsi::Cdb report_port_groups_cdb(uint32_t room);

// What the parameter data of that command reports of a group.
struct GroupState {
  uint16_t group = 0;
  std::optional<scsi::AccessState> state{};  // nothing: a number that SPC-4 does not name
  bool preferred = false;
};
// Nothing: the data lacks the group.
std::optional<GroupState> group_state(std::span<const std::byte> data, uint16_t group);

// "optimized, port group 1, preferred".
std::string to_string(const GroupState& state);

}  // namespace mrpool::iser
