// The boundary between our access flags and libibverbs': the one place where they are translated.
//
// Both sides agree on every bit but one. Bit 20 says "relax the ordering" to libibverbs
// (IBV_ACCESS_RELAXED_ORDERING) and "do not relax it" to us (Access::kDisableRelaxedOrdering), so
// it changes its value on the way. The rest is carried as it is: flags that this file has never
// heard of, such as the proposed IBV_ACCESS_UNORDERED of the optional range, reach the side that
// may know them, and a device refuses by name what it does not.
//
// The two functions are inverse to each other. Thread safety: pure.
#pragma once

#include <cstdint>

#include "mrpool/access.h"

namespace mrpool::verbs {

// Flags for ibv_reg_mr: relaxed ordering is asked for unless `access` disables it.
uint32_t to_ibv_access(Access access);

// Flags that a program wrote for ibv_reg_mr. They keep their meaning: strict ordering unless
// IBV_ACCESS_RELAXED_ORDERING is among them.
Access from_ibv_access(uint32_t ibv_access);

}  // namespace mrpool::verbs
