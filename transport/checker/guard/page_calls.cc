// PageGuard: buffers that the program hands to the kernel, which would refuse protected pages.
#include <sys/uio.h>

#include <algorithm>

#include "transport/checker/guard/page_guard.h"
#include "transport/checker/guard/thread_state.h"

namespace mrpool::guard {

bool PageGuard::near_regions(const iovec& piece) const {
  const Range all = range_of(piece.iov_base, piece.iov_len);
  return !all.empty() && all.begin < highest_.load(std::memory_order_relaxed) &&
         lowest_.load(std::memory_order_relaxed) < all.end;
}

bool PageGuard::open_for_call(std::span<const iovec> pieces) {
  const auto near = [this](const iovec& piece) { return near_regions(piece); };
  if (std::none_of(pieces.begin(), pieces.end(), near)) return false;
  const Locked locked(lock_);
  for (const iovec& piece : pieces) {
    if (!near_regions(piece)) continue;
    const Range range = range_of(piece.iov_base, piece.iov_len);
    if (calls_used_ == kMaxCalls) {  // so many at once: no guard is better than a failed call
      visit_range(range, &PageGuard::clear_page);
      continue;
    }
    calls_[calls_used_++] = range;
    visit_range(range, &PageGuard::sync_page);
  }
  return true;
}

void PageGuard::close_after_call(std::span<const iovec> pieces, ssize_t bytes, bool write,
                                 const void* caller) {
  size_t left = bytes < 0 ? 0 : static_cast<size_t>(bytes);
  for (const iovec& piece : pieces) {
    const size_t used = std::min(left, piece.iov_len);
    left -= used;
    Touch touch = touch_of_call(range_of(piece.iov_base, used), write);
    touch.instruction = reinterpret_cast<uintptr_t>(caller);
    if (touch.handle != 0 && callbacks_.touched != nullptr) callbacks_.touched(touch);
  }
  const Locked locked(lock_);
  for (const iovec& piece : pieces) {
    const Range range = range_of(piece.iov_base, piece.iov_len);
    Range* const end = calls_ + calls_used_;
    Range* const found = std::find_if(calls_, end, [&](const Range& each) {
      return each.begin == range.begin && each.end == range.end;
    });
    if (found == end) continue;
    *found = calls_[--calls_used_];
    visit_range(range, &PageGuard::sync_page);
  }
}

// The first guarded byte that the kernel used.
Touch PageGuard::touch_of_call(Range used, bool write) {
  const iovec piece{reinterpret_cast<void*>(used.begin), used.end - used.begin};
  if (thread_state.device_depth > 0 || !near_regions(piece)) return {};
  const Locked locked(lock_);
  for (uintptr_t at = page_of(used.begin); at < used.end; at += kPageBytes) {
    const Page* page = map_.find(at);
    if (page == nullptr) continue;
    uintptr_t first = 0;
    const Handle op = map_.guarding(*page, used.begin, used.end, first);
    if (op == 0) continue;
    Touch touch = end_guard(op, first, write);
    touch.system_call = true;
    return touch;
  }
  return {};
}

}  // namespace mrpool::guard
