// The daemon's command line.
//
// Pure, except that it reads the file of --config. The result is checked options, or an error that
// names the bad value and the remedy.
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
  Config config;            // from the file, or from the arguments
  std::string config_file;  // re-read on SIGHUP
  bool check_config = false;
  bool print_config = false;
  engine::ImportOptions import;
  std::vector<base::ImportNote> notes;  // differences from the file of a kernel's target
  Service::Options service;
  std::optional<std::string> answer;  // text to print instead of running, as for --help
};

// Reads the file of --config too.
absl::StatusOr<DaemonOptions> parse_arguments(std::span<const std::string> arguments);

}  // namespace mrpool::nvmf_target
