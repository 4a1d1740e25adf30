#include "examples/storage/file_size.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

namespace mrpool::storage {

std::optional<uint64_t> file_size(int fd, Freshness freshness) {
  struct statx info {};
  const int sync = freshness == Freshness::kCached ? AT_STATX_DONT_SYNC : AT_STATX_FORCE_SYNC;
  if (::statx(fd, "", AT_EMPTY_PATH | sync, STATX_SIZE | STATX_TYPE, &info) != 0) {
    return std::nullopt;
  }
  if (S_ISREG(info.stx_mode)) return info.stx_size;
  uint64_t bytes = 0;
  if (::ioctl(fd, BLKGETSIZE64, &bytes) != 0) return std::nullopt;
  return bytes;
}

bool ends_before(int fd, uint64_t end) {
  const std::optional<uint64_t> bytes = file_size(fd, Freshness::kCached);
  return bytes.has_value() && *bytes < end;
}

}  // namespace mrpool::storage
