#include "examples/storage/late_ranges.h"

#include <utility>

namespace mrpool::storage {
namespace {

template <typename Item>
Item** place_of(Item*& first, const Item* item, Item* Item::*next) {
  Item** at = &first;
  while (*at != item && *at != nullptr) at = &((*at)->*next);
  return at;
}

}  // namespace

bool LateRanges::blocked(const Wait& wait) const {
  for (const Range* range = ranges_; range != nullptr; range = range->next_) {
    const bool overlap = range->offset < wait.offset_ ? wait.offset_ - range->offset < range->length
                                                      : range->offset - wait.offset_ < wait.length_;
    if (overlap) return true;
  }
  return false;
}

void LateRanges::add(Range& range) {
  const std::lock_guard lock(mutex_);
  range.next_ = ranges_;
  ranges_ = &range;
  count_.fetch_add(1, std::memory_order_release);
}

void LateRanges::remove(Range& range) {
  const std::lock_guard lock(mutex_);
  *place_of(ranges_, &range, &Range::next_) = range.next_;
  count_.fetch_sub(1, std::memory_order_release);
  for (Wait** at = &waits_; *at != nullptr;) {
    Wait& wait = **at;
    if (blocked(wait)) {
      at = &wait.next_;
      continue;
    }
    *at = wait.next_;
    wait.listed_ = false;
    wait.reactor_->post(wait);
  }
}

bool LateRanges::pass(Wait& wait, uint64_t offset, uint64_t length, Reactor& reactor) {
  const std::lock_guard lock(mutex_);
  wait.offset_ = offset;
  wait.length_ = length;
  wait.reactor_ = nullptr;
  if (!blocked(wait)) return true;
  wait.reactor_ = &reactor;
  wait.next_ = nullptr;
  wait.listed_ = true;
  *place_of<Wait>(waits_, nullptr, &Wait::next_) = &wait;
  return false;
}

bool LateRanges::cancel(Wait& wait) {
  const std::lock_guard lock(mutex_);
  Reactor* const reactor = std::exchange(wait.reactor_, nullptr);
  if (reactor == nullptr) return false;
  if (!std::exchange(wait.listed_, false)) return reactor->cancel(wait);  // posted, or it ran
  *place_of(waits_, &wait, &Wait::next_) = wait.next_;
  return true;
}

}  // namespace mrpool::storage
