#include "mrpool/segments.h"

#include <algorithm>

namespace mrpool {

std::byte* SegmentIterator::address(size_t index) const {
  return vector_ != nullptr ? static_cast<std::byte*>(vector_[index].iov_base) : list_[index].addr;
}

Sge SegmentIterator::front(uint64_t max_bytes) const {
  const uint64_t left = std::min({length(index_) - used_, max_bytes, uint64_t{UINT32_MAX}});
  return {address(index_) + used_, uint32_t(left), vector_ != nullptr ? lkey_ : list_[index_].lkey};
}

SegmentIterator::Extent SegmentIterator::extent(uint64_t bytes) const {
  Extent extent;
  uint64_t used = used_;
  for (size_t at = index_; at < count_ && extent.bytes < bytes; ++at) {
    const uint64_t here = length(at) - used;
    used = 0;
    if (here == 0) continue;
    ++extent.segments;
    extent.bytes += std::min(here, bytes - extent.bytes);
  }
  return extent;
}

std::span<const Sge> SegmentIterator::view(size_t max_segments, uint64_t bytes) const {
  if (vector_ != nullptr || used_ != 0) return {};
  size_t run = 0;
  while (index_ + run < count_ && run < max_segments && bytes > 0) {
    const uint32_t here = list_[index_ + run].length;
    if (here == 0 || here > bytes) return {};
    bytes -= here;
    ++run;
  }
  return {list_ + index_, run};
}

}  // namespace mrpool
