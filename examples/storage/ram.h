// Volumes without a disk: RAM, and null, which forgets writes and reads as zeroes.
//
// Thread safety and ownership: as storage.h says of Volume.
#pragma once

#include "examples/storage/backend.h"

namespace mrpool::storage {

extern const Backend kRam;
extern const Backend kNull;

}  // namespace mrpool::storage
