// What a gateway shows of its group: a method of the control socket, and metrics.
//
// Thread safety: pure functions. Ownership: `group` outlives the method.
#pragma once

#include <boost/json/object.hpp>

#include "examples/control/methods.h"
#include "examples/gateway/daemon/group.h"
#include "examples/gateway/daemon/runner.h"
#include "examples/metrics/snapshot.h"

namespace mrpool::gateway {

// mrpool_gateway_get_group. `group` may return null: this daemon is not one of a group.
void add_methods(control::Methods& methods, std::function<const Group*()> group);

boost::json::object to_json(const Status& status);
void observe(const Status& status, metrics::Snapshot& to);

}  // namespace mrpool::gateway
