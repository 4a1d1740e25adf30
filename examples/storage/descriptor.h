// File descriptors that close themselves, and a whole file as text.
//
// Ownership: a Descriptor owns what it holds. Thread safety: distinct objects: safe.
#pragma once

#include <unistd.h>

#include <string>
#include <utility>

#include "absl/status/statusor.h"

namespace mrpool::storage {

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }  // negative: it could not be opened

 private:
  int fd_;
};

// What the file holds. NotFound: there is none; InvalidArgument: it cannot be read; both have the
// reason.
absl::StatusOr<std::string> read_text(const std::string& path);

}  // namespace mrpool::storage
