// Writes the engine's options as keys of a configuration file.
//
// Thread safety: pure.
#pragma once

#include <boost/json/object.hpp>

#include "examples/engine/options.h"

namespace mrpool::engine {

// Writes the keys that read_options() reads, without those that have their default.
void write_options(const Options& options, boost::json::object& to);

}  // namespace mrpool::engine
