#include "examples/storage/growth.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "absl/strings/str_cat.h"

namespace mrpool::storage {
namespace {

// What is at the path by now may be somebody else's.
bool still_at(const std::string& path, const struct stat& info) {
  struct stat there {};
  return ::stat(path.c_str(), &there) == 0 && there.st_dev == info.st_dev &&
         there.st_ino == info.st_ino;
}

}  // namespace

Growth::~Growth() {
  for (const auto& [file, applied] : files_) {
    struct stat info {};
    if (::fstat(file.fd->get(), &info) != 0) continue;
    if (file.made) {
      if (still_at(file.path, info)) ::unlink(file.path.c_str());
    } else if (applied && uint64_t(info.st_size) == file.bytes) {
      (void)!::ftruncate(file.fd->get(), off_t(file.before));
    }
  }
}

absl::Status Growth::apply() {
  for (auto& [file, applied] : files_) {
    struct stat info {};
    const bool known = ::fstat(file.fd->get(), &info) == 0;
    if (known && uint64_t(info.st_size) >= file.bytes) continue;  // others were faster
    if (::ftruncate(file.fd->get(), off_t(file.bytes)) != 0) {
      const int error = errno == EFBIG ? EINVAL : errno;  // the size that was asked for
      return absl::ErrnoToStatus(
          error, absl::StrCat(file.path, ": cannot be made ", file.bytes, " bytes large"));
    }
    applied = true;
  }
  return absl::OkStatus();
}

std::vector<Growth::File> Growth::made() const {
  std::vector<File> all;
  for (const Change& each : files_) {
    if (each.file.made) all.push_back(each.file);
  }
  return all;
}

}  // namespace mrpool::storage
