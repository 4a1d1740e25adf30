// The command line of mrpool-iser-target.
//
// Thread safety: values.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "examples/base/import.h"
#include "examples/engine/import.h"
#include "examples/iser/target/config.h"
#include "mrpool/reactor.h"

namespace mrpool::iser_target {

struct Options {
  Config config;
  std::vector<base::ImportNote> notes;  // what is not as the file of a kernel's target says
  std::string config_file;
  bool check_config = false;
  bool print_config = false;
  bool imported = false;  // config_file is that of a kernel's target
  engine::ImportOptions import;
  std::optional<std::string> answer;  // what to print instead of running, as for --help
};

// Reads the file of --config too; what the command line says goes before what the file says.
// InvalidArgument names the option and what to write.
absl::StatusOr<Options> parse_arguments(std::span<const std::string> arguments);

}  // namespace mrpool::iser_target
