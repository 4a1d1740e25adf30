// The method of the control socket that limits the rate of a store: SPDK's bdev_set_qos_limit.
//
// Thread safety: the main loop's thread. Ownership: the arguments outlive the methods.
#pragma once

#include "examples/control/methods.h"
#include "examples/engine/changes.h"
#include "examples/engine/store_methods.h"

namespace mrpool::engine {

void add_limit_method(Changes& changes, control::Methods& methods, StoreHolder& holder);

}  // namespace mrpool::engine
