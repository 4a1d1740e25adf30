#include "examples/control/socket_file.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace mrpool::control {
namespace {

constexpr int kBacklog = 128;

absl::StatusOr<sockaddr_un> address_of(const std::string& path) {
  if (absl::Status status = check_socket_path(path); !status.ok()) return status;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::ranges::copy(path, address.sun_path);
  return address;
}

const sockaddr* generic(const sockaddr_un& address) {
  return reinterpret_cast<const sockaddr*>(&address);
}

// OK if the file is a socket on which no process listens.
absl::Status check_stale(const std::string& path, const sockaddr_un& address) {
  struct stat info;
  if (::lstat(path.c_str(), &info) != 0) {
    return absl::FailedPreconditionError(absl::StrCat(path, ": ", strerror(errno)));
  }
  if (!S_ISSOCK(info.st_mode)) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, " is not a socket; remove it, or choose another path"));
  }
  const int probe = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (probe < 0) return absl::ResourceExhaustedError(absl::StrCat(path, ": ", strerror(errno)));
  const int error = ::connect(probe, generic(address), sizeof address) == 0 ? 0 : errno;
  ::close(probe);
  if (error == ECONNREFUSED) return absl::OkStatus();
  if (error == 0 || error == EAGAIN) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, ": another process listens there; end it, or name another path"));
  }
  return absl::FailedPreconditionError(absl::StrCat(path, ": ", strerror(error)));
}

absl::Status bind_file(int fd, const std::string& path, const sockaddr_un& address) {
  if (::bind(fd, generic(address), sizeof address) == 0) return absl::OkStatus();
  if (errno != EADDRINUSE) {
    return absl::FailedPreconditionError(absl::StrCat(
        path, ": ", strerror(errno), errno == ENOENT ? "; create its folder first" : ""));
  }
  if (absl::Status status = check_stale(path, address); !status.ok()) return status;
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) {
    return absl::FailedPreconditionError(absl::StrCat(
        path, " was left by a daemon that has ended, and cannot be removed: ", strerror(errno),
        "; remove it as root, or choose a path in a folder of the daemon's user"));
  }
  if (::bind(fd, generic(address), sizeof address) == 0) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(path, ": ", strerror(errno)));
}

}  // namespace

absl::Status check_socket_path(const std::string& path) {
  constexpr size_t kMost = sizeof(sockaddr_un::sun_path) - 1;
  if (path.empty())
    return absl::InvalidArgumentError("a path is missing, as /run/mrpool/control.sock");
  if (path.size() <= kMost) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("'", path, "' has ", path.size(),
                                                 " bytes, and a socket's path ", kMost,
                                                 " at most; name a shorter one"));
}

absl::StatusOr<SocketFile> SocketFile::listen(const std::string& path) {
  const auto address = address_of(path);
  if (!address.ok()) return address.status();
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return absl::ResourceExhaustedError(absl::StrCat(path, ": ", strerror(errno)));
  SocketFile file(fd, {});
  // The file inherits the mode of the socket, so others can never connect.
  if (::fchmod(fd, 0600) != 0) {
    return absl::InternalError(absl::StrCat(path, ": ", strerror(errno)));
  }
  if (absl::Status status = bind_file(fd, path, *address); !status.ok()) return status;
  file.path_ = path;
  struct stat info;
  if (::lstat(path.c_str(), &info) == 0) {
    file.device_ = info.st_dev;
    file.inode_ = info.st_ino;
  }
  if (::listen(fd, kBacklog) != 0) {
    return absl::InternalError(absl::StrCat(path, ": ", strerror(errno)));
  }
  return file;
}

SocketFile::~SocketFile() {
  struct stat info;
  if (!path_.empty() && ::lstat(path_.c_str(), &info) == 0 && info.st_dev == device_ &&
      info.st_ino == inode_) {
    ::unlink(path_.c_str());
  }
  if (fd_ >= 0) ::close(fd_);
}

}  // namespace mrpool::control
