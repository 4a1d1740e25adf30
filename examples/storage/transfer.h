// A read or write of a file on its way through a Ring or through TransferThreads.
//
// Lives in Io::scratch while it is under way; the buffers are the request's from byte `progress`
// on.
//
// Thread safety: one thread at a time. Ownership: as Io.
#pragma once

#include <limits.h>

#include <cstdint>
#include <new>

#include "examples/storage/storage.h"

namespace mrpool::storage {

struct Transfer {
  // `result`: bytes moved, or a negative errno, or kNotTaken. Runs on the reactor's loop.
  using Moved = void (*)(Io& io, int64_t result);
  // The request was handed back without having been tried.
  static constexpr int64_t kNotTaken = INT64_MIN;

  int fd;
  int slot;  // the ring's registered file; negative: none
  Moved moved;

  static Transfer& of(Io& io) { return *std::launder(reinterpret_cast<Transfer*>(io.scratch)); }
};

// What one system call can take of a request: its whole list at first; after a short transfer the
// rest of the segment it ended in.
struct Segment {
  std::span<const iovec> list = {};  // empty: `memory` and `length` are the segment
  void* memory = nullptr;
  size_t length = 0;
};
inline Segment next_segment(const Io& io) {
  if (io.progress == 0 && io.buffers.size() > 1) {
    return {.list = io.buffers.first(io.buffers.size() < IOV_MAX ? io.buffers.size() : IOV_MAX)};
  }
  uint64_t skip = io.progress;
  for (const iovec& v : io.buffers) {
    if (skip < v.iov_len) {
      return {.memory = static_cast<std::byte*>(v.iov_base) + skip,
              .length = v.iov_len - size_t(skip)};
    }
    skip -= v.iov_len;
  }
  return {};
}

}  // namespace mrpool::storage
