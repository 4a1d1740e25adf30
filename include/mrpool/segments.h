// A place in a scatter list: where a transfer starts in a list that is longer than the transfer.
//
// What it is: the kernel's bvec_iter. Nothing is copied: the iterator borrows the list, and has the
// index of a segment and the number of bytes used of it. One list can serve many transfers:
//
//   SegmentIterator at(vector, mr->lkey(), offset);                // iovecs over one registration
//   context->start(operation, RwDirection::kRead, at, remote);     // the next remote.length bytes
//   at.advance(remote.length);                                     // ... and the ones after them
//
// Empty segments are skipped. Lengths are in bytes.
//
// Thread safety: a value; distinct objects: safe.
// Ownership: the list, and the memory that it names, are the caller's and must outlive the iterator
// and, where a transfer touches more than RwOperation::kInlineSegments of it, the transfer.
#pragma once

#include <sys/uio.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "mrpool/types.h"

namespace mrpool {

// Walks a scatter list in parts.
class SegmentIterator {
 public:
  SegmentIterator() = default;
  // Starts at byte `offset` of the list, or at its end where the list is shorter. Takes time in
  // proportion to the segments before that byte: advance() an iterator instead of making new ones.
  explicit SegmentIterator(std::span<const Sge> list, uint64_t offset = 0)
      : list_(list.data()), count_(list.size()) {
    skip_empty();
    advance(offset);
  }
  // The same over iovecs whose memory is all of the registration `lkey`.
  SegmentIterator(std::span<const iovec> vector, Lkey lkey, uint64_t offset = 0)
      : vector_(vector.data()), count_(vector.size()), lkey_(lkey) {
    skip_empty();
    advance(offset);
  }

  // Whether nothing is left of the list.
  bool at_end() const { return index_ == count_; }
  // The rest of the current segment, at most `max_bytes` (an Sge has up to 4 GiB - 1).
  // Requires !at_end().
  Sge front(uint64_t max_bytes = UINT32_MAX) const;
  // Moves `bytes` on, at most to the end. In proportion to the segments passed.
  void advance(uint64_t bytes) {
    while (bytes > 0 && !at_end()) {
      const uint64_t here = std::min(bytes, length(index_) - used_);
      used_ += here;
      bytes -= here;
      skip_empty();
    }
  }

  // Over the next bytes from here: how many segments they touch, and how many there are. `bytes`
  // is less than was asked for where the list ends first.
  struct Extent {
    size_t segments = 0;
    uint64_t bytes = 0;
  };
  // Of the next `bytes` bytes; the iterator stays where it is.
  Extent extent(uint64_t bytes) const;

 private:
  friend class RwCursor;
  std::byte* address(size_t index) const;
  uint64_t length(size_t index) const {
    return vector_ != nullptr ? vector_[index].iov_len : list_[index].length;
  }
  // Stands at a segment with something left, or at the end.
  void skip_empty() {
    while (index_ < count_ && used_ == length(index_)) {
      ++index_;
      used_ = 0;
    }
  }
  // The next segments, at most `max_segments` and `bytes`, as they stand in a list of Sges. Empty
  // where one would have to be cut, or to be made.
  std::span<const Sge> view(size_t max_segments, uint64_t bytes) const;

  const Sge* list_ = nullptr;  // one of the two
  const iovec* vector_ = nullptr;
  size_t count_ = 0;
  size_t index_ = 0;   // the segment it stands in
  uint64_t used_ = 0;  // bytes of it that it has passed
  Lkey lkey_;          // of `vector_`
};

}  // namespace mrpool
