// The limits of namespaces when one table replaces another.
//
// Thread safety: values; a Limiter is shared. Ownership: tables share their limiters.
#pragma once

#include "examples/nvmf/target/subsystem.h"

namespace mrpool::nvmf_target {

// Sets the limits of `next`. A namespace with the same store keeps its limiter, so that commands
// that are held back follow the new limits; those of other limiters of `before` are released.
void carry_limits(const NamespaceTable& before, NamespaceTable& next);

}  // namespace mrpool::nvmf_target
