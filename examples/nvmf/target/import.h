// Converts a file of `nvmetcli save` (the kernel's NVMe target) to this daemon's configuration.
//
// It keeps namespaces with their identifiers, the allowed hosts with their authentication keys, and
// the ports of type rdma. Everything else becomes notes (examples/base/import.h). Notes with the
// weight kWider must be refused, or accepted by a person. Examples: a subsystem on some ports only.
//
// Pure, except ImportOptions::blocks, which reads the block size of devices.
// docs/operate/import.md has the table of keys.
#pragma once

#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "examples/base/import.h"
#include "examples/engine/import.h"
#include "examples/nvmf/target/config.h"

namespace mrpool::nvmf_target {

struct Imported {
  Config config;
  std::vector<base::ImportNote> notes;
};

// InvalidArgument names the line and the key: the text is not JSON, or a value is invalid. Call
// complete() on the result.
absl::StatusOr<Imported> import_nvmetcli(std::string_view json,
                                         const engine::ImportOptions& options);

}  // namespace mrpool::nvmf_target
