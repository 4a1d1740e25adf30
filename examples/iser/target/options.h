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
  std::vector<base::ImportNote> notes;  // differences from the file of a kernel's target
  std::string config_file;
  bool check_config = false;
  bool print_config = false;
  bool imported = false;  // config_file belongs to a kernel's target
  engine::ImportOptions import;
  std::optional<std::string> answer;  // text to print instead of running, as for --help
};

// Also reads the file of --config; the command line takes precedence over the file. InvalidArgument
// names the option and the remedy.
absl::StatusOr<Options> parse_arguments(std::span<const std::string> arguments);

}  // namespace mrpool::iser_target
