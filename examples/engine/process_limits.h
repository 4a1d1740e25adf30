// What the process may use: descriptors and locked memory. A daemon that knows its limits at start
// says what is missing then, and refuses a connection too many in good order, instead of finding
// out when a host comes.
//
// Thread safety: fit_to_process: the main thread, before there are others. The rest: values.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "examples/engine/options.h"

namespace mrpool::engine {

// As far as there is none, the number is the largest there is.
struct ProcessLimits {
  uint64_t descriptors = 0;
  uint64_t descriptors_in_use = 0;
  uint64_t locked_memory = 0;  // bytes
};

// What a configuration opens besides connections.
struct ProcessNeeds {
  uint32_t threads = 1;
  size_t stores = 0;
  size_t ports = 0;
  bool verbs = false;  // registered memory is locked by the kernel
};

// Sets `options.possible_connections`, and says what cannot be had and how to get it, a line each.
std::vector<std::string> fit(const ProcessLimits& limits, const ProcessNeeds& needs,
                             Options& options);

// Raises this process's soft limits to the hard ones and fits `options` to them; what is missing
// goes to stderr.
void fit_to_process(const char* program, std::span<const std::string> listen, size_t stores,
                    Options& options);

}  // namespace mrpool::engine
