// The identifiers of stores: UUIDs as people write them, and the ones that follow from what a store
// is.
//
// Thread safety: any thread. Ownership: values.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "examples/storage/identity.h"

namespace mrpool::storage {

using Uuid = std::array<uint8_t, 16>;  // in the order of its text; all zeroes: none

absl::StatusOr<Uuid> parse_uuid(std::string_view text);
std::string format_uuid(const Uuid& uuid);
// The same name gives the same UUID: version 8 (RFC 9562), from two 64-bit hashes.
Uuid derive_uuid(std::string_view name);

// The UUID of a store that was given none. It follows from what the store is alone, whatever path,
// number or target it is served by. A disk with a world-wide name has the same one on every
// machine. Stores that are distinct only within a machine (files, named memory, disks with a serial
// alone) are named together with /etc/machine-id. Memory without a name is another store in every
// process.
Uuid uuid_of(const StoreIdentity& identity);
// For messages: "UUID 0a1b...", and whether a restart gives the store another. `kept`: UUIDs of
// stores are kept in a state directory.
std::string describe(const Uuid& uuid, const StoreIdentity& identity, bool kept = false);

}  // namespace mrpool::storage
