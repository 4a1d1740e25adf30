// One disk is served once: who may serve a store, and who keeps it.
//
// Within this process two volumes of one identity exclude each other unless both are read-only.
// A lock protects a file from other processes (an OFD lock, shared for read-only). A block device
// is opened exclusively, which the kernel refuses while it is mounted, swapped on, or part of a
// RAID or a volume group.
//
// A store may be shared by processes that all ask for it: gateways with ANA. A file then has a
// shared lock, and a block device is not opened exclusively.
//
// A volume that takes the place of another on the same store, with other options, takes over what
// keeps the store from others: there is no moment at which it is free.
//
// A volume that is not served any more keeps its store until its last commands have ended and the
// file is closed. Who wants the store waits for that.
//
// Thread safety: any thread. Ownership: a claim lasts as long as somebody holds it; volumes that
// read one store share one.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/statusor.h"
#include "examples/storage/descriptor.h"
#include "examples/storage/identity.h"

namespace mrpool::storage {

// What keeps a store from other processes: an exclusively opened device, or a locked file, which is
// unlocked at the end.
struct Hold {
  // `reader` had the file's shared lock, which went into this exclusive one.
  Hold(std::shared_ptr<const Descriptor> kept, bool locked_file,
       std::shared_ptr<const Hold> reader = nullptr)
      : fd(std::move(kept)), locked(locked_file), before(std::move(reader)) {}
  Hold(const Hold&) = delete;
  Hold& operator=(const Hold&) = delete;
  ~Hold();
  const std::shared_ptr<const Descriptor> fd;
  const bool locked;
  const std::shared_ptr<const Hold> before;
};

struct Claim {
  StoreIdentity identity;
  std::string spec;
  bool read_only;
  bool shared;                       // with other processes that write too
  std::shared_ptr<const Hold> hold;  // null: of memory
};

// The end of a volume is waited for so long. Sessions look for what they have to let go of every
// quarter of a second.
inline constexpr std::chrono::seconds kLeavingPatience{3};

struct ClaimRequest {
  const StoreIdentity& identity;
  const std::string& spec;
  bool read_only = false;
  bool shared = false;                       // others that ask for this may write to it too
  std::string path{};                        // of a file or device
  std::shared_ptr<const Descriptor> file{};  // a file, open; it is locked
  bool takes_over = false;                   // from the volumes of this process
  bool others_leave = false;                 // volumes of this process that have the store end soon
};

// FailedPrecondition names the volume that has the store, or has not ended in time. For a block
// device `path` is opened exclusively; FailedPrecondition names its mount or other user. Blocks.
absl::StatusOr<std::shared_ptr<const Claim>> take_claim(const ClaimRequest& request);

// The volume of this claim ends, and the store will be free soon: who wants it waits.
void announce_end(const Claim& claim);

// Locks the open file `fd` against other processes and other volumes. FailedPrecondition names the
// process that has it, where /proc shows one.
// `fix` is what the message ends with: what to do instead.
absl::Status lock_file(int fd, const std::string& path, bool read_only,
                       std::string_view fix = "end it first, or serve another file");
void unlock_file(int fd);

}  // namespace mrpool::storage
