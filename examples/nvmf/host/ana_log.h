// The Asymmetric Namespace Access log page of a controller: how well its host reaches a namespace.
//
// Thread safety: pure. Clauses: [base] 5.14.1.12, 8.1.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "examples/protocol/nvme/ana.h"

namespace mrpool::nvme::host {

// The state of the group that has the namespace. Nothing: no group has it, or the page is not whole
// up to there, or names a state that does not exist. The page is the controller's, so nothing in it
// is trusted.
std::optional<AnaState> ana_state_of(std::span<const std::byte> page, uint32_t nsid);

}  // namespace mrpool::nvme::host
