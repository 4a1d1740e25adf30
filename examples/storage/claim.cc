#include "examples/storage/claim.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "examples/storage/users.h"

namespace mrpool::storage {
namespace {

// The claims of this process. The kernel's exclusive opening is per process too, so one list is
// what there is to mirror.
struct Claims {
  std::mutex mutex;
  std::vector<std::weak_ptr<const Claim>> claims;
};
Claims& all() {
  static Claims claims;
  return claims;
}

absl::StatusOr<Descriptor> open_exclusively(const std::string& path) {
  Descriptor fd(::open(path.c_str(), O_RDONLY | O_EXCL | O_CLOEXEC));
  if (fd.get() >= 0) return fd;
  if (errno != EBUSY) return absl::ErrnoToStatus(errno, absl::StrCat(path, ": cannot be opened"));
  return absl::FailedPreconditionError(absl::StrCat(path, " ", users_of_device(path)));
}

// True: locked. A lock of a process that was killed lasts until the kernel has finished what it had
// under way in io_uring, some time after the process is gone.
bool try_lock(int fd, bool read_only) {
  struct flock lock {};
  lock.l_type = read_only ? F_RDLCK : F_WRLCK;
  lock.l_whence = SEEK_SET;
  return ::fcntl(fd, F_OFD_SETLK, &lock) == 0;
}

}  // namespace

absl::StatusOr<std::shared_ptr<const Claim>> take_claim(const StoreIdentity& identity,
                                                        const std::string& spec, bool read_only,
                                                        const std::string& path) {
  Claims& claims = all();
  const std::lock_guard lock(claims.mutex);
  std::erase_if(claims.claims, [](const auto& claim) { return claim.expired(); });
  for (const auto& weak : claims.claims) {
    std::shared_ptr<const Claim> claim = weak.lock();
    if (claim == nullptr || claim->identity != identity) continue;
    if (claim->read_only && read_only) return claim;
    return absl::FailedPreconditionError(
        absl::StrCat(spec, ": this process serves the same store already as ", claim->spec,
                     "; serve it once, or both times with \",ro\""));
  }
  Descriptor exclusive(-1);
  if (identity.kind() == StoreIdentity::Kind::kBlockDevice) {
    absl::StatusOr<Descriptor> opened = open_exclusively(path);
    if (!opened.ok()) return opened.status();
    exclusive = *std::move(opened);
  }
  std::shared_ptr<const Claim> claim(new Claim{identity, spec, read_only, std::move(exclusive)});
  claims.claims.push_back(claim);
  return claim;
}

absl::Status lock_file(int fd, const std::string& path, bool read_only) {
  constexpr auto kPause = std::chrono::milliseconds(20);
  constexpr int kTries = 100;
  for (int i = 0; !try_lock(fd, read_only); ++i) {
    const int error = errno;
    if (error != EAGAIN && error != EACCES && error != EINTR) {
      return absl::ErrnoToStatus(
          error, absl::StrCat(path, ": cannot be locked, so that others could write to it"));
    }
    const long pid = process_that_locks(fd);
    if (pid != 0 || i == kTries) {
      return absl::FailedPreconditionError(absl::StrCat(
          path, " is in use by ", pid != 0 ? absl::StrCat("process ", pid) : "another program",
          read_only ? ", which writes to it" : "; end it first, or serve another file"));
    }
    // Nobody alive has it: the kernel is about to let go of it.
    std::this_thread::sleep_for(kPause);
  }
  return absl::OkStatus();
}

void unlock_file(int fd) {
  struct flock lock {};
  lock.l_type = F_UNLCK;
  lock.l_whence = SEEK_SET;
  ::fcntl(fd, F_OFD_SETLK, &lock);
}

}  // namespace mrpool::storage
