#include "examples/storage/descriptor.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace mrpool::storage {

absl::StatusOr<std::string> read_text(const std::string& path) {
  const auto failed = [&path] {
    const int error = errno;
    const std::string why = absl::StrCat(path, ": cannot be read: ", std::strerror(error));
    return error == ENOENT ? absl::NotFoundError(why) : absl::InvalidArgumentError(why);
  };
  // Without waiting: for a FIFO, a writer may never come.
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat info {};
  if (file.get() < 0 || ::fstat(file.get(), &info) != 0) return failed();
  if (!S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode)) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " is not a regular file; write its content into one"));
  }
  std::string text;
  char piece[4096];
  while (true) {
    const ssize_t n = ::read(file.get(), piece, sizeof piece);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return failed();
    if (n == 0) return text;
    text.append(piece, size_t(n));
  }
}

}  // namespace mrpool::storage
