// The limits of the process: descriptors and locked memory. A daemon compares them with its needs
// at the start, reports what is missing, and later refuses excess connections in an orderly way.
//
// Thread safety: fit_to_process: the main thread, before other threads exist. The rest: values.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "examples/engine/options.h"

namespace mrpool::engine {

// The largest value of the type means unlimited.
struct ProcessLimits {
  uint64_t descriptors = 0;
  uint64_t descriptors_in_use = 0;
  uint64_t locked_memory = 0;  // bytes
};

// What a configuration needs in addition to connections.
struct ProcessNeeds {
  uint32_t threads = 1;
  size_t stores = 0;
  size_t ports = 0;
  bool verbs = false;  // the kernel locks registered memory
};

// Sets `options.possible_connections`. Returns one line for each shortage, with its remedy.
std::vector<std::string> fit(const ProcessLimits& limits, const ProcessNeeds& needs,
                             Options& options);

// Raises this process's soft limits to the hard limits and fits `options` to them; prints shortages
// on stderr.
void fit_to_process(const char* program, std::span<const std::string> listen, size_t stores,
                    Options& options);

}  // namespace mrpool::engine
