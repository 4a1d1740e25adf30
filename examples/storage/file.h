// A volume in a regular file or on a block device.
//
// Reads and writes go through io_uring on the channel's reactor (Asio's random_access_file);
// fdatasync, fallocate and the sync after a FUA write run on one helper thread per volume, because
// they block. Flushes that wait together share one fdatasync. Once a sync failed the kernel may
// have dropped the pages, so every later flush fails too: the host must not believe the data safe.
//
// Thread safety and ownership: as storage.h says of Volume. A file is locked (flock) while open.
#pragma once

#include "examples/storage/backend.h"

namespace mrpool::storage {

extern const Backend kFile;

}  // namespace mrpool::storage
