// A range of a dma-buf: memory of another device (a GPU, an accelerator) that the kernel exports as
// a file descriptor. Pd::reg_dmabuf_mr() (mrpool/device.h) registers it.
//
// Thread safety: a value. Ownership: the descriptor is the caller's and may be closed once the
// registration is made; the Mr keeps the dma-buf.
#pragma once

#include <cstdint>

namespace mrpool {

// A range of a dma-buf, which is memory of another device.
struct DmabufRange {
  int fd = -1;
  uint64_t offset = 0;  // bytes into the dma-buf
  uint64_t length = 0;  // bytes, at least 1
  // What Sges and peers call the first byte. Its last 12 bits must be those of `offset`.
  uint64_t iova = 0;
};

}  // namespace mrpool
