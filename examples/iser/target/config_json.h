// Writes a configuration as the JSON that parse_json() reads, including secrets.
//
// Thread safety: pure.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "examples/iser/target/config.h"

namespace mrpool::iser_target {

// Omits keys that have their default. If `config` is complete(), parse_json(*to_json(config))
// equals it. InvalidArgument: the user name of an account has a colon, which other programs allow
// and "user:secret" does not.
absl::StatusOr<std::string> to_json(const Config& config);
// Files may have grown since they were opened: makes their "size=" what they have. It looks at
// them.
void note_present_sizes(Config& config);
// Writes it atomically to `path`, the file of --config; returns the path. FailedPrecondition: there
// is no such option, the file is `imported` from another program, or no target is served, so that
// the next start would refuse the file.
absl::StatusOr<std::string> save_config(const Config& config, const std::string& path,
                                        bool imported);

}  // namespace mrpool::iser_target
