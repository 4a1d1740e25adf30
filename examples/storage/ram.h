// Volumes without a disk: RAM, and null, which forgets writes and reads as zeroes.
//
// Thread safety and ownership: as storage.h says of Volume.
#pragma once

#include <memory>
#include <string>

#include "examples/storage/storage.h"

namespace mrpool::storage {

absl::StatusOr<std::shared_ptr<Volume>> open_ram(std::string spec, uint64_t bytes,
                                                 uint32_t block_size);
absl::StatusOr<std::shared_ptr<Volume>> open_null(std::string spec, uint64_t bytes,
                                                  uint32_t block_size);

}  // namespace mrpool::storage
