// What the status page shows, as JSON. The page is its only promised reader: names may change.
//
// Thread safety: pure.
#pragma once

#include <string>

#include "examples/metrics/snapshot.h"

namespace mrpool::metrics {

std::string status_json(const Snapshot& snapshot);

}  // namespace mrpool::metrics
