#include "examples/storage/identity.h"

#include <fcntl.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include <algorithm>
#include <atomic>
#include <cctype>
#include <cerrno>
#include <cstring>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "examples/storage/descriptor.h"

namespace mrpool::storage {
namespace {

// The line a file of sysfs holds, with what cannot stand in an identifier replaced; empty: none.
std::string line_of(const std::string& path) {
  const absl::StatusOr<std::string> content = read_text(path);
  if (!content.ok()) return {};
  std::string line(absl::StripAsciiWhitespace(*content));
  for (char& c : line) {
    if (!std::isalnum(static_cast<unsigned char>(c)) && std::strchr(".-:+", c) == nullptr) c = '_';
  }
  return line;
}

struct DiskName {
  std::string text;  // what the disk calls itself; empty: it does not
  bool world_wide = false;
};

DiskName disk_name(const std::string& sysfs) {
  for (const char* attribute : {"/wwid", "/device/wwid", "/dm/uuid"}) {
    if (std::string name = line_of(sysfs + attribute); !name.empty()) return {name, true};
  }
  for (const char* attribute : {"/serial", "/device/serial"}) {
    if (std::string name = line_of(sysfs + attribute); !name.empty()) return {name, false};
  }
  return {};
}

DiskName block_name(dev_t number) {
  const std::string sysfs = absl::StrCat("/sys/dev/block/", major(number), ":", minor(number));
  const std::string partition = line_of(sysfs + "/partition");
  if (partition.empty()) return disk_name(sysfs);
  DiskName disk = disk_name(sysfs + "/..");
  if (!disk.text.empty()) absl::StrAppend(&disk.text, "-part", partition);
  return disk;
}

// When the file was made; empty where its file system does not record it.
std::string birth_of(int fd) {
  struct statx info {};
  if (::statx(fd, "", AT_EMPTY_PATH, STATX_BTIME, &info) != 0) return {};
  if ((info.stx_mask & STATX_BTIME) == 0) return {};
  return absl::StrCat(info.stx_btime.tv_sec, ".",
                      absl::Dec(info.stx_btime.tv_nsec, absl::kZeroPad9));
}

}  // namespace

StoreIdentity StoreIdentity::of(int fd, const struct stat& info) {
  if (S_ISBLK(info.st_mode)) {
    StoreIdentity identity(Kind::kBlockDevice, info.st_rdev, 0, {});
    const DiskName name = block_name(info.st_rdev);
    identity.stable_ = !name.text.empty();
    if (!identity.stable_)
      identity.lasting_ = "disk";  // its path is all there is beside its number
    identity.world_wide_ = name.world_wide;
    identity.text_ = name.text.empty()
                         ? absl::StrCat("block:", major(info.st_rdev), "-", minor(info.st_rdev))
                         : "block:" + name.text;
    return identity;
  }
  // The next file may get the inode of one that was removed; it is born later.
  const std::string birth = birth_of(fd);
  StoreIdentity identity(Kind::kFile, info.st_dev, info.st_ino, birth);
  struct statfs system {};
  uint64_t id = 0;
  if (::fstatfs(fd, &system) == 0) std::memcpy(&id, &system.f_fsid, sizeof id);
  identity.stable_ = id != 0;
  identity.text_ =
      id != 0
          ? absl::StrCat("file:", absl::Hex(id, absl::kZeroPad16), ":", info.st_ino)
          : absl::StrCat("file:", major(info.st_dev), "-", minor(info.st_dev), ":", info.st_ino);
  if (!birth.empty()) absl::StrAppend(&identity.text_, ":", birth);
  if (!identity.stable_) {
    identity.lasting_ = absl::StrCat(info.st_ino, "@", birth.empty() ? "0" : birth);
  }
  return identity;
}

absl::StatusOr<StoreIdentity> StoreIdentity::of(const std::string& path) {
  const Descriptor fd(::open(path.c_str(), O_PATH | O_CLOEXEC));
  struct stat info {};
  if (fd.get() < 0 || ::fstat(fd.get(), &info) != 0) return absl::ErrnoToStatus(errno, path);
  return of(fd.get(), info);
}

StoreIdentity StoreIdentity::named(const std::string& name) {
  StoreIdentity identity(Kind::kNamed, 0, 0, name);
  identity.text_ = "name:" + name;
  return identity;
}

StoreIdentity StoreIdentity::remote(const std::string& name, bool world_wide) {
  StoreIdentity identity(Kind::kRemote, 0, 0, name);
  identity.text_ = name;
  identity.world_wide_ = world_wide;
  return identity;
}

StoreIdentity StoreIdentity::unnamed() {
  // Relaxed: only distinct numbers are asked for.
  static std::atomic<uint64_t> last = 0;
  StoreIdentity identity(Kind::kUnnamed, 0, last.fetch_add(1, std::memory_order_relaxed) + 1, {});
  identity.text_ = absl::StrCat("unnamed:", identity.inode_);
  identity.stable_ = false;
  return identity;
}

bool StoreIdentity::is(const struct stat& info) const {
  if (kind_ == Kind::kBlockDevice) return S_ISBLK(info.st_mode) && info.st_rdev == device_;
  return kind_ == Kind::kFile && S_ISREG(info.st_mode) && info.st_dev == device_ &&
         info.st_ino == inode_;
}

}  // namespace mrpool::storage
