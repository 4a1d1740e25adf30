// The Asymmetric Namespace Access log page of a controller: how well its host reaches a namespace.
//
// Thread safety: pure. Clauses: [base] 5.14.1.12, 8.1.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace mrpool::nvme::host {

enum class AnaState : uint8_t {
  kOptimized = 1,
  kNonOptimized = 2,
  kInaccessible = 3,
  kPersistentLoss = 4,
  kChange = 15,
};
std::string_view to_string(AnaState state);
inline bool accessible(AnaState state) {
  return state == AnaState::kOptimized || state == AnaState::kNonOptimized;
}

// The state of the group that has the namespace. Nothing: no group has it, or the page is not whole
// up to there, or names a state that does not exist. The page is the controller's, so nothing in it
// is trusted.
std::optional<AnaState> ana_state_of(std::span<const std::byte> page, uint32_t nsid);

}  // namespace mrpool::nvme::host
