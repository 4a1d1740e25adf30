// Plugins of remote stores: shared objects that are installed with the programs and loaded at first
// use. A daemon runs without the libraries that only some stores need.
//
// Thread safety: any thread; it blocks. Ownership: a plugin that is loaded stays.
#pragma once

#include <string_view>

#include "absl/status/statusor.h"
#include "examples/storage/remote_api.h"

namespace mrpool::storage {

struct Plugin {
  std::string_view scheme;   // "rbd"
  std::string_view file;     // "mrpool-rbd.so"
  std::string_view package;  // that has it: "mrpool-rbd"
  std::string_view build;    // what building it needs: "librbd-dev"
};

// The table of the plugin. FailedPrecondition names the package that is missing.
absl::StatusOr<const RemoteApi*> load(const Plugin& plugin);

}  // namespace mrpool::storage
