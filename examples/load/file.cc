#include "examples/load/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"

namespace mrpool::load {

namespace {

absl::Status wrong(const std::string& path, int error) {
  const std::string text = absl::StrCat("'", path, "': ", std::strerror(error));
  // Nothing is wrong with the path.
  const bool lacking = error == EMFILE || error == ENFILE || error == ENOMEM;
  return lacking ? absl::ResourceExhaustedError(text) : absl::InvalidArgumentError(text);
}

}  // namespace

absl::StatusOr<File> File::open(const std::string& path, int flags, int standard) {
  if (path == "-") return File(standard, false);
  const int fd = ::open(path.c_str(), flags | O_CLOEXEC, 0644);
  if (fd >= 0) return File(fd, true);
  return wrong(path, errno);
}

absl::StatusOr<File> File::open_input(const std::string& path) {
  auto input = open(path, O_RDONLY, STDIN_FILENO);
  if (!input.ok()) return input;
  struct stat info {};
  if (::fstat(input->fd(), &info) == 0 && S_ISDIR(info.st_mode)) return wrong(path, EISDIR);
  if (input->left() == 0) return empty_input();
  return input;
}

absl::StatusOr<File> File::open_output(const std::string& path) {
  return open(path, O_WRONLY | O_CREAT, STDOUT_FILENO);
}

absl::Status File::check_output(const std::string& path) {
  if (path == "-") return absl::OkStatus();
  if (path.empty()) return wrong(path, ENOENT);
  struct stat info {};
  if (::stat(path.c_str(), &info) == 0) {
    if (S_ISDIR(info.st_mode)) return wrong(path, EISDIR);
    return ::access(path.c_str(), W_OK) == 0 ? absl::OkStatus() : wrong(path, errno);
  }
  if (errno != ENOENT) return wrong(path, errno);
  const std::string folder = std::filesystem::path(path).parent_path();
  const bool can = ::access(folder.empty() ? "." : folder.c_str(), W_OK | X_OK) == 0;
  return can ? absl::OkStatus() : wrong(path, errno);
}

File::File(File&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), named_(std::exchange(other.named_, false)) {}

File::~File() {
  if (named_) ::close(fd_);
}

absl::Status empty_input() {
  return absl::InvalidArgumentError("the input is empty; nothing was written");
}

std::optional<uint64_t> File::left() const {
  struct stat info {};
  if (::fstat(fd_, &info) != 0 || !S_ISREG(info.st_mode)) return std::nullopt;
  const off_t at = ::lseek(fd_, 0, SEEK_CUR);
  if (at < 0) return std::nullopt;
  return at < info.st_size ? uint64_t(info.st_size - at) : 0;
}

}  // namespace mrpool::load
