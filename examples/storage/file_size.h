// How large an open file or block device is now.
//
// Thread safety: any thread. Ownership: descriptors are borrowed.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <optional>

namespace mrpool::storage {

enum class Freshness : uint8_t {
  kCached,  // asks no server where the file system knows better
  kServer,
};

// The size in bytes; null: errno has the error.
std::optional<uint64_t> file_size(int fd, Freshness freshness);

// Whether the file system is known to have the sizes of open files in this machine's memory, so
// that a kCached look never waits. Others (networks, FUSE) may ask somebody all the same, or wait
// for a lock that who waits for them holds.
bool tells_size_at_once(int fd);

// The same without opening anything, from the result of stat(2); null where that does not have it.
std::optional<uint64_t> size_there(const struct stat& info);

// Whether byte `end` - 1 lies beyond the file, by the cached size. False when it cannot be learned.
bool ends_before(int fd, uint64_t end);

}  // namespace mrpool::storage
