// A volume in a regular file or on a block device.
//
// Reads and writes go through the io_uring of the channel's reactor (ring.h). Where io_uring is
// refused, they go through a few threads for each volume (transfer_threads.h), which is reported
// once.
// fdatasync, fallocate and the sync after a FUA write run on one helper thread for each volume,
// because they block. Flushes that wait together share one fdatasync. Once a sync failed the kernel
// may have dropped the pages, so every later flush fails too: the host must not believe the data
// safe.
//
// A file that others cut while it is served: requests beyond its end fail with kOutOfRange. Writes
// look at the size first, once a round of the reactor, since a write beyond the end would make the
// file longer again. A cut within that round is not seen.
//
// Thread safety and ownership: as Volume in storage.h. While open the store is claimed and
// locked (claim.h).
#pragma once

#include "examples/storage/backend.h"

namespace mrpool::storage {

extern const Backend kFile;

}  // namespace mrpool::storage
