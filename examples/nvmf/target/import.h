// What `nvmetcli save` writes of the kernel's NVMe target, as this daemon's configuration.
//
// What the file says is served as it says: namespaces with their identifiers, who may connect, the
// ports of type rdma. The rest becomes notes (examples/base/import.h). Those with the weight kWider
// must be refused, or accepted by a person: keys that hosts prove, a subsystem that one port had
// and another had not, a namespace that ANA made inaccessible.
//
// Pure, but for ImportOptions::blocks, which is asked for the block size of devices.
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

// InvalidArgument names the line and the key: it is no JSON, or has a value that cannot be. The
// configuration is not yet complete().
absl::StatusOr<Imported> import_nvmetcli(std::string_view json,
                                         const engine::ImportOptions& options);

}  // namespace mrpool::nvmf_target
