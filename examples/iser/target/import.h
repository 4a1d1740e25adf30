// Converts a file that targetcli saved (saveconfig.json, the kernel's iSCSI target) to this
// daemon's configuration.
//
// It keeps LUNs with their serial numbers and NAA identifiers, the access lists with their secrets,
// and the portals with iSER. Everything else becomes notes (examples/base/import.h). Notes with the
// weight kWider must be refused, or accepted by a person. Examples: LUNs for some initiators only,
// LUNs that an initiator could only read, portals of some targets only.
//
// Pure, except ImportOptions::blocks. docs/operate/import.md has the table of keys.
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
  bool imported = true;  // false: it was this daemon's own format
};

// InvalidArgument names the line and the key: the text is not JSON, or a value is invalid. Call
// complete() on the result.
absl::StatusOr<Imported> import_targetcli(std::string_view json,
                                          const engine::ImportOptions& options);

}  // namespace mrpool::iser_target
