// The data of the status page, as JSON. The format is for the page only: names may change.
//
// Thread safety: pure.
#pragma once

#include <string>

#include "examples/metrics/snapshot.h"

namespace mrpool::metrics {

std::string status_json(const Snapshot& snapshot);

}  // namespace mrpool::metrics
