// The file, or the standard stream, that a copy reads or writes.
//
// Thread safety: distinct objects: safe. Ownership: closes what it opened.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace mrpool::load {

class File {
 public:
  // "-" is stdin or stdout. InvalidArgument names the path and the system's error, or states that
  // an input file is empty. An output file is made when there is none, and keeps its content:
  // FileWorker empties it (`empties`).
  static absl::StatusOr<File> open_input(const std::string& path);
  static absl::StatusOr<File> open_output(const std::string& path);
  // The result that open_output() would have now; makes and changes nothing.
  static absl::Status check_output(const std::string& path);
  File(File&& other) noexcept;
  File& operator=(File&&) = delete;
  ~File();

  int fd() const { return fd_; }
  // Opened by its name.
  bool named() const { return named_; }
  // Bytes that are left to read of a regular file; nothing where nobody knows.
  std::optional<uint64_t> left() const;

 private:
  File(int fd, bool named) : fd_(fd), named_(named) {}
  static absl::StatusOr<File> open(const std::string& path, int flags, int standard);
  int fd_;
  bool named_;
};

// InvalidArgument: the error of an empty input, which is hardly intended.
absl::Status empty_input();

}  // namespace mrpool::load
