// What every channel does alike: check a request's range, copy between memory and scatter lists,
// and keep waiting requests in order.
//
// Thread safety: values and single-threaded containers.
#pragma once

#include <cstring>

#include "examples/storage/storage.h"

namespace mrpool::storage {

// Refuses ranges that are not whole blocks inside the volume; by subtraction, so that no sum of a
// peer's numbers can wrap. Flushes have no range.
inline Error check(const Geometry& geometry, const Io& io) {
  if (io.op == Op::kFlush) return Error::kNone;
  const uint64_t bytes = geometry.bytes();
  if (io.offset > bytes || io.length > bytes - io.offset || io.offset % geometry.block_size != 0 ||
      io.length % geometry.block_size != 0) {
    return Error::kOutOfRange;
  }
  const bool writes = io.op == Op::kWrite || io.op == Op::kWriteZeroes || io.op == Op::kDeallocate;
  return writes && geometry.read_only ? Error::kReadOnly : Error::kNone;
}

// Copies `length` bytes between `memory` and the scatter list from its byte `skip` on.
inline void copy_out(std::span<const iovec> to, const std::byte* memory, uint64_t length) {
  for (const iovec& v : to) {
    const size_t n = v.iov_len < length ? v.iov_len : size_t(length);
    std::memcpy(v.iov_base, memory, n);
    memory += n;
    if ((length -= n) == 0) return;
  }
}
inline void copy_in(std::byte* memory, std::span<const iovec> from, uint64_t length) {
  for (const iovec& v : from) {
    const size_t n = v.iov_len < length ? v.iov_len : size_t(length);
    std::memcpy(memory, v.iov_base, n);
    memory += n;
    if ((length -= n) == 0) return;
  }
}

// First in, first out, linked through Io::next.
class IoList {
 public:
  bool empty() const { return head_ == nullptr; }
  void push(Io& io) {
    io.next = nullptr;
    *tail_ = &io;
    tail_ = &io.next;
  }
  Io* pop() {
    Io* io = head_;
    if (io != nullptr && (head_ = io->next) == nullptr) tail_ = &head_;
    return io;
  }
  // Takes everything, leaving the list empty.
  Io* take() {
    Io* all = head_;
    head_ = nullptr;
    tail_ = &head_;
    return all;
  }

  IoList() = default;
  IoList(const IoList&) = delete;
  IoList& operator=(const IoList&) = delete;

 private:
  Io* head_ = nullptr;
  Io** tail_ = &head_;
};

}  // namespace mrpool::storage
