// States of Asymmetric Namespace Access: how well a host reaches the namespaces of a group through
// a port.
//
// Thread safety: pure. Clauses: [base] 8.1 ANA, 5.14.1.12.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "absl/status/statusor.h"

namespace mrpool::nvme {

enum class AnaState : uint8_t {
  kOptimized = 0x1,
  kNonOptimized = 0x2,
  kInaccessible = 0x3,
  kPersistentLoss = 0x4,
  kChange = 0xf,
};
inline constexpr std::string_view kAnaStateNames[] = {
    "optimized", "non_optimized", "inaccessible", "persistent_loss", "change",
};
std::string_view to_string(AnaState state);
// Takes the kernel's notation too: "non-optimized". InvalidArgument names the states.
absl::StatusOr<AnaState> parse_ana_state(std::string_view text);
// From the field of the log page; nothing if there is no such state.
std::optional<AnaState> to_ana_state(uint8_t field);

}  // namespace mrpool::nvme
