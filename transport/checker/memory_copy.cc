#include "transport/checker/memory_copy.h"

#include <fcntl.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>

namespace mrpool::checker {
namespace {

// The memory of this process; a forked child opens its own.
int own_memory() {
  static pid_t owner = 0;
  static int fd = -1;
  if (owner != ::getpid()) {
    if (fd >= 0) ::close(fd);
    owner = ::getpid();
    fd = ::open("/proc/thread-self/mem", O_RDONLY | O_CLOEXEC);
  }
  return fd;
}

// The first `limit` bytes of the pieces; empty when they cannot be read.
std::vector<std::byte> read(const std::vector<Piece>& pieces, size_t limit) {
  std::vector<std::byte> out;
  for (const Piece& piece : pieces) {
    const size_t bytes = std::min(piece.length, limit - out.size());
    if (bytes == 0) continue;
    const size_t at = out.size();
    out.resize(at + bytes);
    const ssize_t got =
        ::pread(own_memory(), out.data() + at, bytes, static_cast<off_t>(piece.start));
    if (got != static_cast<ssize_t>(bytes)) return {};
  }
  return out;
}

}  // namespace

void MemoryCopy::take(const std::vector<Piece>& pieces, size_t limit) {
  bytes_ = read(pieces, limit);
}

std::optional<size_t> MemoryCopy::first_change(const std::vector<Piece>& pieces) const {
  if (bytes_.empty()) return std::nullopt;
  const std::vector<std::byte> now = read(pieces, bytes_.size());
  if (now.size() != bytes_.size()) return std::nullopt;
  const auto [before, after] = std::ranges::mismatch(bytes_, now);
  if (before == bytes_.end()) return std::nullopt;
  return static_cast<size_t>(before - bytes_.begin());
}

}  // namespace mrpool::checker
