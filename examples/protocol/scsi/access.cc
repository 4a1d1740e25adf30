#include "examples/protocol/scsi/access.h"

#include <algorithm>
#include <iterator>
#include <string>

#include "absl/strings/str_cat.h"
#include "examples/base/big_endian.h"

namespace mrpool::scsi {
namespace {

constexpr AccessState kStates[] = {AccessState::kOptimized, AccessState::kNonOptimized,
                                   AccessState::kStandby, AccessState::kUnavailable,
                                   AccessState::kTransitioning};
static_assert(std::size(kStates) == std::size(kAccessStateNames));

// What a unit does in every state, so that an initiator learns about it.
bool always_executed(Command command) {
  switch (command) {
    case Command::kInquiry:
    case Command::kReportLuns:
    case Command::kRequestSense:
    case Command::kReportPortGroups:
    case Command::kSetPortGroups:
    case Command::kReportSupportedOpcodes:
    case Command::kReportSupportedFunctions:
      return true;
    default:
      return false;
  }
}

// Standby: commands that concern no blocks. Initiators need the capacity to make a disk of a path.
bool executed_in_standby(Command command) {
  switch (command) {
    case Command::kModeSelect6:
    case Command::kModeSelect10:
    case Command::kModeSense6:
    case Command::kModeSense10:
    case Command::kReadCapacity10:
    case Command::kReadCapacity16:
    case Command::kPersistentReserveIn:
    case Command::kPersistentReserveOut:
      return true;
    default:
      return always_executed(command);
  }
}

}  // namespace

std::string_view to_string(AccessState state) {
  const auto* const at = std::ranges::find(kStates, state);
  return at == std::end(kStates) ? "unknown" : kAccessStateNames[at - std::begin(kStates)];
}

absl::StatusOr<AccessState> parse_access_state(std::string_view text) {
  const auto* const at = std::ranges::find(kAccessStateNames, text);
  if (at != std::end(kAccessStateNames)) return kStates[at - std::begin(kAccessStateNames)];
  std::string names;
  for (const std::string_view each : kAccessStateNames) {
    absl::StrAppend(&names, names.empty() ? "" : ", ", std::string(each));
  }
  return absl::InvalidArgumentError(
      absl::StrCat("'", std::string(text), "' is not a state; use ", names));
}

std::optional<AccessState> access_state_of(uint64_t number) {
  const auto* const at =
      std::ranges::find(kStates, number, [](AccessState each) { return uint64_t(each); });
  if (at == std::end(kStates)) return std::nullopt;
  return *at;
}

std::optional<Sense> refusal(AccessState state, Command command) {
  switch (state) {
    case AccessState::kOptimized:
    case AccessState::kNonOptimized:
      return std::nullopt;
    case AccessState::kStandby:
      if (executed_in_standby(command)) return std::nullopt;
      return kPortStandby;
    case AccessState::kUnavailable:
      if (always_executed(command)) return std::nullopt;
      return kPortUnavailable;
    case AccessState::kTransitioning:
      if (always_executed(command)) return std::nullopt;
      return kAccessTransition;
  }
  return kPortUnavailable;
}

std::optional<Sense> report_port_groups(const Cdb& cdb, const UnitFacts& unit, AccessState state,
                                        AccessChange change, std::vector<uint8_t>& data) {
  const uint8_t format = cdb[1] >> 5;
  if (format > 1) return kInvalidFieldInCdb.at_cdb(1);
  constexpr uint8_t kExtended = 0x10;
  constexpr uint8_t kSupported = 0x80 | 0x08 | 0x04 | 0x02 | 0x01;  // T, U, S, AN, AO
  data.assign(format == 1 ? 8 : 4, 0);
  if (format == 1) {
    data[4] = kExtended;
    data[5] = kTransitionSeconds;
  }
  const size_t group = data.size();
  data.resize(group + 12);
  data[group] = uint8_t(state);
  data[group + 1] = kSupported;
  be::store16(&data[group + 2], unit.port_group);
  data[group + 5] = uint8_t(change);
  data[group + 7] = 1;  // target ports
  be::store16(&data[group + 10], unit.relative_port);
  be::store32(&data[0], uint32_t(data.size() - 4));
  return std::nullopt;
}

PortGroupRequest parse_port_groups(std::span<const uint8_t> list, const UnitFacts& unit) {
  constexpr size_t kHeader = 4, kDescriptor = 4;
  PortGroupRequest request;
  if (list.empty()) return request;
  if (list.size() < kHeader || (list.size() - kHeader) % kDescriptor != 0) {
    return {.wrong = kParameterListLength, .state = {}};
  }
  for (size_t at = kHeader; at < list.size(); at += kDescriptor) {
    const auto state = access_state_of(list[at] & 0x0f);
    if (!state || *state == AccessState::kTransitioning) {
      return {.wrong = kInvalidFieldInParameters.at_parameter(uint16_t(at)), .state = {}};
    }
    if (be::load16(&list[at + 2]) != unit.port_group) {
      return {.wrong = kInvalidFieldInParameters.at_parameter(uint16_t(at + 2)), .state = {}};
    }
    request.state = state;
  }
  return request;
}

}  // namespace mrpool::scsi
