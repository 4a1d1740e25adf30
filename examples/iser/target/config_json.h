// A configuration as the JSON that parse_json() reads, secrets included.
//
// Thread safety: pure.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "examples/iser/target/config.h"

namespace mrpool::iser_target {

// Keys that have their default are left out. parse_json(*to_json(config)) is `config`, where
// `config` is complete(). InvalidArgument: the user of an account has a colon, which other programs
// allow and "user:secret" does not.
absl::StatusOr<std::string> to_json(const Config& config);
// Writes it to `path`, the file of --config, whole or not at all; returns the path.
// FailedPrecondition: there is no file, or it is `imported` from another program, or nothing is
// served, which no start would take.
absl::StatusOr<std::string> save_config(const Config& config, const std::string& path,
                                        bool imported);

}  // namespace mrpool::iser_target
