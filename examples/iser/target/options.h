// The command line of mrpool-iser-target.
//
// Thread safety: values.
#pragma once

#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "examples/iser/target/config.h"
#include "mrpool/reactor.h"

namespace mrpool::iser_target {

extern const char* const kHelp;

struct Options {
  bool help = false;
  Config config;
  Nanoseconds spin = std::chrono::microseconds(50);
};

// Reads a --config file too. InvalidArgument names the option and the mend.
absl::StatusOr<Options> parse_arguments(std::span<const std::string> arguments);

}  // namespace mrpool::iser_target
