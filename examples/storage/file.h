// A volume in a regular file or on a block device.
//
// Reads and writes go through io_uring on the channel's reactor (Asio's random_access_file);
// fdatasync, fallocate and the sync behind a FUA write run on one helper thread per volume, because
// they block. Flushes that wait together share one fdatasync. Once a sync failed the kernel may
// have dropped the pages, so every later flush fails too: the host must not believe the data safe.
//
// Thread safety and ownership: as storage.h says of Volume. A file is locked (flock) while open.
#pragma once

#include <memory>
#include <string>

#include "examples/storage/storage.h"

namespace mrpool::storage {

struct FileOptions {
  bool direct = false;  // O_DIRECT
  bool read_only = false;
  uint64_t size = 0;  // bytes of a file to make; 0: it has to exist
};

absl::StatusOr<std::shared_ptr<Volume>> open_file(std::string spec, const std::string& path,
                                                  uint32_t block_size, const FileOptions& options);

}  // namespace mrpool::storage
