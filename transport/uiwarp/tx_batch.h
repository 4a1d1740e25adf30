// What one send call carries: headers, trailers and small payloads in a block of its own, large
// payloads where they lie, as one gather list.
//
// A reactor has one current batch that all its Qps fill in turn; a Qp keeps one only while the
// socket would not take all of it.
//
// Thread safety: its reactor's thread.
#pragma once

#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "transport/uiwarp/key_table.h"

namespace mrpool::uiwarp {

class TxBatch {
 public:
  static constexpr size_t kBlockBytes = 128 * 1024;
  static constexpr size_t kMaxPieces = 512;
  static constexpr size_t kMaxGuards = 256;
  // Payload up to here is copied into the block, which is cheaper than a gather entry of its own.
  static constexpr size_t kCopyBytes = 1024;
  // Payload of a READ response up to here, too: the bytes that the CRC was taken over are then the
  // bytes that go out, whatever the program does meanwhile. (Of what it posted itself it may not
  // change a byte before the completion.)
  static constexpr size_t kCopyResponseBytes = 4096;

  void clear() { used_ = begin_ = end_ = guards_ = bytes_ = sent_ = 0; }
  bool empty() const { return bytes_ == 0; }
  uint64_t bytes() const { return bytes_; }
  bool has_room(size_t block_bytes, size_t pieces) const {
    return kBlockBytes - used_ >= block_bytes && kMaxPieces - end_ >= pieces &&
           guards_ < kMaxGuards;
  }

  // Space in the block, which is sent after everything that was added before.
  std::byte* add(size_t size) {
    std::byte* at = block_.data() + used_;
    used_ += size;
    append(at, size);
    return at;
  }
  // Memory that must stay until it was sent.
  void add_memory(std::byte* memory, size_t size) { append(memory, size); }
  // `bytes` of `range` were added, just now, that somebody else may revoke.
  void guard(const KeyRange& range, uint32_t bytes) {
    ranges_[guards_++] = {range, bytes, sent_ + bytes_};
  }
  // Whether any of it is memory that others may change; true until clear().
  bool guarded() const { return guards_ > 0; }
  // What went out already may be revoked: the peer that has it all may have ended the key itself.
  // Inside a Quiescence section.
  bool guards_hold() const {
    for (size_t i = 0; i < guards_; ++i) {
      const Guard& guard = ranges_[i];
      if (guard.end <= sent_) continue;
      if (!guard.range.live() || !bases_live(guard.range, guard.bytes)) return false;
    }
    return true;
  }

  std::span<const iovec> unsent() const { return {pieces_.data() + begin_, end_ - begin_}; }
  void advance(size_t sent) {
    bytes_ -= sent;
    sent_ += sent;
    while (sent > 0) {
      iovec& piece = pieces_[begin_];
      if (sent < piece.iov_len) {
        piece.iov_base = static_cast<std::byte*>(piece.iov_base) + sent;
        piece.iov_len -= sent;
        return;
      }
      sent -= piece.iov_len;
      ++begin_;
    }
  }

 private:
  void append(std::byte* at, size_t size) {
    if (size == 0) return;
    bytes_ += size;
    if (end_ > begin_) {
      iovec& last = pieces_[end_ - 1];
      if (static_cast<std::byte*>(last.iov_base) + last.iov_len == at) {
        last.iov_len += size;
        return;
      }
    }
    pieces_[end_++] = {at, size};
  }

  size_t used_ = 0;
  size_t begin_ = 0;
  size_t end_ = 0;
  size_t guards_ = 0;
  uint64_t bytes_ = 0;  // unsent
  uint64_t sent_ = 0;
  struct Guard {
    KeyRange range;
    uint32_t bytes;
    uint64_t end;  // of its bytes, counted from the batch's first
  };
  std::array<iovec, kMaxPieces> pieces_;
  std::array<Guard, kMaxGuards> ranges_;
  std::array<std::byte, kBlockBytes> block_;
};

}  // namespace mrpool::uiwarp
