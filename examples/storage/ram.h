// Volumes without a disk: RAM, and null, which forgets writes and reads as zeroes.
//
// Their identity is the name they are given by "name=", unique in the process, or one of their own.
//
// Thread safety and ownership: as Volume in storage.h.
#pragma once

#include "examples/storage/backend.h"

namespace mrpool::storage {

extern const Backend kRam;
extern const Backend kNull;

}  // namespace mrpool::storage
