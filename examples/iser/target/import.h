// What targetcli saves of the kernel's iSCSI target (saveconfig.json), as this daemon's
// configuration.
//
// Served as the file says: LUNs with their serial numbers and NAA identifiers, who may log in and
// by which secrets, portals with iSER. The rest becomes notes (examples/base/import.h). Those with
// the weight kWider must be refused, or accepted by a person: LUNs that one initiator had and
// another had not, that it could only read, portals that one target had and another had not.
//
// Pure, but for ImportOptions::blocks. docs/operate/import.md has the table of keys.
#pragma once

#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "examples/base/import.h"
#include "examples/engine/import.h"
#include "examples/iser/target/config.h"

namespace mrpool::iser_target {

struct Imported {
  Config config;
  std::vector<base::ImportNote> notes;
  bool imported = true;  // false: it was our own
};

// InvalidArgument names the line and the key: it is no JSON, or has a value that cannot be. The
// configuration is not yet complete().
absl::StatusOr<Imported> import_targetcli(std::string_view json,
                                          const engine::ImportOptions& options);

}  // namespace mrpool::iser_target
