// How large an open file or block device is now.
//
// Thread safety: any thread. Ownership: descriptors are borrowed.
#pragma once

#include <cstdint>
#include <optional>

namespace mrpool::storage {

enum class Freshness : uint8_t {
  kCached,  // asks no server of a network file system, so that the call does not block
  kServer,
};

// The size in bytes; null: errno says why.
std::optional<uint64_t> file_size(int fd, Freshness freshness);

// Whether byte `end` - 1 lies beyond the file, by the cached size. False when it cannot be learned.
bool ends_before(int fd, uint64_t end);

}  // namespace mrpool::storage
