// The daemon's command line.
//
// Pure but for the file of --config: arguments in, checked options or an error that names the bad
// value and what to write.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "examples/base/import.h"
#include "examples/engine/import.h"
#include "examples/nvmf/target/config.h"
#include "examples/nvmf/target/service.h"

namespace mrpool::nvmf_target {

struct DaemonOptions {
  Config config;            // of the file, or of the arguments when there is none
  std::string config_file;  // re-read on SIGHUP
  bool check_config = false;
  bool print_config = false;
  engine::ImportOptions import;
  std::vector<base::ImportNote> notes;  // what is not as the file of a kernel's target says
  Service::Options service;
  std::optional<std::string> answer;  // what to print instead of running, as for --help
};

// Reads the file of --config too.
absl::StatusOr<DaemonOptions> parse_arguments(std::span<const std::string> arguments);

}  // namespace mrpool::nvmf_target
