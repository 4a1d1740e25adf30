#include "examples/storage/state_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "examples/storage/claim.h"
#include "examples/storage/descriptor.h"

namespace mrpool::storage {
namespace {

absl::Status failed(const std::string& path, std::string_view what) {
  return absl::InternalError(absl::StrCat(path, ": ", std::string(what), ": ", strerror(errno)));
}

// The directory entry is part of what has to be durable.
absl::Status sync_directory(const std::string& path) {
  const std::filesystem::path parent = std::filesystem::path(path).parent_path();
  const Descriptor directory(
      ::open(parent.empty() ? "." : parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory.get() < 0 || ::fsync(directory.get()) != 0) return failed(path, "sync");
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Descriptor> own_state_directory(const std::string& directory) {
  const std::string path = directory + "/lock";
  Descriptor file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (file.get() < 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat(path,
                                                   ": cannot be created; give the daemon "
                                                   "write permission for its state directory"));
  }
  absl::Status status = lock_file(file.get(), directory, false,
                                  "end it first, or give each daemon a state directory of its own");
  if (!status.ok()) return status;
  return file;
}

absl::StatusOr<std::string> read_state(const std::string& path) {
  absl::StatusOr<std::string> content = read_text(path);
  if (absl::IsNotFound(content.status())) return std::string();
  return content;
}

namespace {

// `like`: whose mode and owner the file gets; null: mode 0600.
absl::Status write_whole(const std::string& path, const std::string& content,
                         const struct stat* like) {
  const std::string fresh = path + ".new";
  {
    const Descriptor file(::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    if (file.get() < 0) return failed(fresh, "create");
    size_t written = 0;
    while (written < content.size()) {
      const ssize_t n = ::write(file.get(), content.data() + written, content.size() - written);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return failed(fresh, "write");
      written += size_t(n);
    }
    // Who may not give a file away keeps it.
    if (like != nullptr && ::fchown(file.get(), like->st_uid, like->st_gid) != 0 &&
        errno != EPERM) {
      return failed(fresh, "owner");
    }
    if (like != nullptr && ::fchmod(file.get(), like->st_mode & 07777) != 0) {
      return failed(fresh, "mode");
    }
    if (::fsync(file.get()) != 0) return failed(fresh, "sync");
  }
  if (::rename(fresh.c_str(), path.c_str()) != 0) return failed(path, "rename");
  return sync_directory(path);
}

}  // namespace

absl::Status write_state(const std::string& path, const std::string& content) {
  if (!content.empty()) return write_whole(path, content, nullptr);
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return failed(path, "remove");
  return sync_directory(path);
}

namespace {

absl::Status replace(const std::string& path, const std::string& content, mode_t most) {
  std::error_code error;
  std::filesystem::path whole = std::filesystem::canonical(path, error);
  if (error) whole = path;
  struct stat info {};
  const bool there = ::stat(whole.c_str(), &info) == 0;
  if (there && !S_ISREG(info.st_mode)) {
    return absl::FailedPreconditionError(absl::StrCat(path, " is not a regular file"));
  }
  info.st_mode &= most;
  return write_whole(whole.string(), content, there ? &info : nullptr);
}

}  // namespace

absl::Status replace_file(const std::string& path, const std::string& content) {
  return replace(path, content, 07777);
}

absl::Status replace_secret_file(const std::string& path, const std::string& content) {
  return replace(path, content, 0600);
}

}  // namespace mrpool::storage
