// Writes a configuration as the JSON that parse_config() reads.
//
// Thread safety: pure.
#pragma once

#include <string>

#include "examples/nvmf/target/config.h"

namespace mrpool::nvmf_target {

// Omits keys that have their default. If `config` is complete(), parse_config(to_json(config))
// equals it.
std::string to_json(const Config& config);

}  // namespace mrpool::nvmf_target
