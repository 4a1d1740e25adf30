// A configuration as the JSON that parse_config() reads.
//
// Thread safety: pure.
#pragma once

#include <string>

#include "examples/nvmf/target/config.h"

namespace mrpool::nvmf_target {

// Keys that have their default are left out. parse_config(to_json(config)) is `config`, where
// `config` is complete().
std::string to_json(const Config& config);

}  // namespace mrpool::nvmf_target
