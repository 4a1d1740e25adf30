// Asymmetric Logical Unit Access (ALUA): how well a logical unit is reached through a target port
// group, and the commands that report and set it.
//
// A logical unit is in one target port group here: that of the target which serves it. Other
// daemons that serve the same store report their own groups.
//
// Thread safety: pure. Clauses: SPC-4 5.15, 6.37 REPORT and 6.45 SET TARGET PORT GROUPS.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "examples/protocol/scsi/opcodes.h"
#include "examples/protocol/scsi/sense.h"
#include "examples/protocol/scsi/unit.h"

namespace mrpool::scsi {

enum class AccessState : uint8_t {
  kOptimized = 0x0,
  kNonOptimized = 0x1,
  kStandby = 0x2,
  kUnavailable = 0x3,
  kTransitioning = 0xf,
};
inline constexpr std::string_view kAccessStateNames[] = {
    "optimized", "non_optimized", "standby", "unavailable", "transitioning",
};
std::string_view to_string(AccessState state);
// InvalidArgument names the states.
absl::StatusOr<AccessState> parse_access_state(std::string_view text);
// As REPORT TARGET PORT GROUPS and targetcli number them.
std::optional<AccessState> access_state_of(uint64_t number);

// How the state came about: STATUS CODE of the descriptor.
enum class AccessChange : uint8_t { kNone = 0, kByCommand = 1, kByTarget = 2 };

// What a command gets in that state; nothing: it is executed.
std::optional<Sense> refusal(AccessState state, Command command);

// The whole parameter data, to be cut to the allocation length.
std::optional<Sense> report_port_groups(const Cdb& cdb, const UnitFacts& unit, AccessState state,
                                        AccessChange change, std::vector<uint8_t>& data);
// The state that the parameter list asks for; nothing if it has no descriptor.
struct PortGroupRequest {
  std::optional<Sense> wrong{};
  std::optional<AccessState> state{};
};
PortGroupRequest parse_port_groups(std::span<const uint8_t> list, const UnitFacts& unit);

}  // namespace mrpool::scsi
