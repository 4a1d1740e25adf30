// The file of a listening Unix socket: mode 0600, so that only its owner and root can connect.
//
// A socket of a process that has ended is replaced. A socket that another process listens on, and a
// file that is not a socket, are refused. The destructor removes the file, if it is still the one
// that was created.
//
// Thread safety: one thread. Ownership: owns the descriptor and the file.
#pragma once

#include <sys/types.h>

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace mrpool::control {

// Checks that a path is not empty and short enough for a socket's address.
absl::Status check_socket_path(const std::string& path);

class SocketFile {
 public:
  // InvalidArgument: the path is invalid; FailedPrecondition: it is in use.
  static absl::StatusOr<SocketFile> listen(const std::string& path);
  SocketFile(SocketFile&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)),
        path_(std::exchange(other.path_, {})),
        device_(other.device_),
        inode_(other.inode_) {}
  SocketFile& operator=(SocketFile&&) = delete;
  ~SocketFile();

  int fd() const { return fd_; }
  const std::string& path() const { return path_; }
  // Transfers ownership of the descriptor to the caller.
  int release() { return std::exchange(fd_, -1); }

 private:
  SocketFile(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}

  int fd_;
  std::string path_;
  dev_t device_ = 0;
  ino_t inode_ = 0;
};

}  // namespace mrpool::control
