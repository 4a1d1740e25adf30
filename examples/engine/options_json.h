// The engine's options as keys of a configuration file.
//
// Thread safety: pure.
#pragma once

#include <boost/json/object.hpp>

#include "examples/engine/options.h"

namespace mrpool::engine {

// What read_options() reads; keys that have their default are left out.
void write_options(const Options& options, boost::json::object& to);

}  // namespace mrpool::engine
