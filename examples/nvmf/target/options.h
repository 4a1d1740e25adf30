// The daemon's command line.
//
// Pure: arguments in, checked options or an error that names the bad value and the mend.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "examples/nvmf/target/config.h"
#include "examples/nvmf/target/service.h"

namespace mrpool::nvmf_target {

struct DaemonOptions {
  Config config;            // from the arguments, when there is no file
  std::string config_file;  // re-read on SIGHUP
  uint32_t threads = 1;
  Nanoseconds spin = std::chrono::microseconds(50);
  Service::Options service;
  bool help = false;
};

absl::StatusOr<DaemonOptions> parse_arguments(std::span<const std::string> arguments);
// Reads and checks the file of --config.
absl::StatusOr<Config> read_config(const std::string& path);
extern const char kHelp[];

}  // namespace mrpool::nvmf_target
