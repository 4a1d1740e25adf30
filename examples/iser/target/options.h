// The command line of mrpool-iser-target.
//
// Thread safety: values.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "examples/iser/target/config.h"
#include "mrpool/reactor.h"

namespace mrpool::iser_target {

struct Options {
  Config config;
  std::string config_file;
  bool check_config = false;
  std::optional<std::string> answer;  // what to print instead of running, as for --help
};

// Reads the file of --config too; what the command line says goes before what the file says.
// InvalidArgument names the option and what to write.
absl::StatusOr<Options> parse_arguments(std::span<const std::string> arguments);

}  // namespace mrpool::iser_target
