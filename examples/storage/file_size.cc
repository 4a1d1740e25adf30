#include "examples/storage/file_size.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <string>

namespace mrpool::storage {
namespace {

constexpr uint64_t kXfs = 0x58465342;  // not in every <linux/magic.h>
constexpr uint64_t kLocal[] = {EXT4_SUPER_MAGIC, kXfs, BTRFS_SUPER_MAGIC, F2FS_SUPER_MAGIC,
                               TMPFS_MAGIC};

}  // namespace

bool tells_size_at_once(int fd) {
  struct statfs system {};
  if (::fstatfs(fd, &system) != 0) return false;
  return std::ranges::find(kLocal, uint64_t(system.f_type)) != std::end(kLocal);
}

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

std::optional<uint64_t> size_there(const struct stat& info) {
  if (S_ISREG(info.st_mode)) return uint64_t(info.st_size);
  constexpr uint64_t kSector = 512;  // the unit of the file, whatever the device's
  std::ifstream file("/sys/dev/block/" + std::to_string(major(info.st_rdev)) + ":" +
                     std::to_string(minor(info.st_rdev)) + "/size");
  uint64_t sectors = 0;
  if (!(file >> sectors)) return std::nullopt;
  return sectors * kSector;
}

bool ends_before(int fd, uint64_t end) {
  const std::optional<uint64_t> bytes = file_size(fd, Freshness::kCached);
  return bytes.has_value() && *bytes < end;
}

}  // namespace mrpool::storage
