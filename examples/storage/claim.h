// One disk is served once: who may serve a store, and who keeps it.
//
// Within this process two volumes of one identity exclude each other unless both are read-only.
// Against others a file is kept by a lock (an OFD lock, shared for read-only) and a block device by
// opening it exclusively, which the kernel refuses while it is mounted, swapped on, or part of a
// RAID or a volume group.
//
// Thread safety: any thread. Ownership: a claim lasts as long as somebody holds it; volumes that
// read one store share one.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "examples/storage/descriptor.h"
#include "examples/storage/identity.h"

namespace mrpool::storage {

struct Claim {
  StoreIdentity identity;
  std::string spec;
  bool read_only;
  Descriptor exclusive;  // of a block device; negative: none
};

// FailedPrecondition names the volume that has the store. For a block device `path` is opened
// exclusively; FailedPrecondition names its mount or other user.
absl::StatusOr<std::shared_ptr<const Claim>> take_claim(const StoreIdentity& identity,
                                                        const std::string& spec, bool read_only,
                                                        const std::string& path);

// Locks the open file `fd` against other processes and other volumes. FailedPrecondition names the
// process that has it, where /proc shows one.
absl::Status lock_file(int fd, const std::string& path, bool read_only);
void unlock_file(int fd);

}  // namespace mrpool::storage
