#include "examples/protocol/nvme/ana.h"

#include <algorithm>
#include <iterator>
#include <string>

#include "absl/strings/str_cat.h"

namespace mrpool::nvme {
namespace {

constexpr AnaState kStates[] = {AnaState::kOptimized, AnaState::kNonOptimized,
                                AnaState::kInaccessible, AnaState::kPersistentLoss,
                                AnaState::kChange};
static_assert(std::size(kStates) == std::size(kAnaStateNames));

constexpr uint8_t kFieldMask = 0x0f;  // the rest is reserved

}  // namespace

std::string_view to_string(AnaState state) {
  const auto* const at = std::ranges::find(kStates, state);
  return at == std::end(kStates) ? "unknown" : kAnaStateNames[at - std::begin(kStates)];
}

absl::StatusOr<AnaState> parse_ana_state(std::string_view text) {
  std::string name(text);
  std::ranges::replace(name, '-', '_');
  const auto* const at = std::ranges::find(kAnaStateNames, name);
  if (at != std::end(kAnaStateNames)) return kStates[at - std::begin(kAnaStateNames)];
  std::string names;
  for (const std::string_view each : kAnaStateNames) {
    absl::StrAppend(&names, names.empty() ? "" : ", ", std::string(each));
  }
  return absl::InvalidArgumentError(
      absl::StrCat("'", std::string(text), "' is not a state; use ", names));
}

std::optional<AnaState> to_ana_state(uint8_t field) {
  const auto* const at = std::ranges::find(kStates, AnaState(field & kFieldMask));
  return at == std::end(kStates) ? std::nullopt : std::optional(*at);
}

}  // namespace mrpool::nvme
