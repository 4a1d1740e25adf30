#include "examples/storage/range_gate.h"

#include <algorithm>

namespace mrpool::storage {

bool RangeGate::conflict(const Pass& a, const Pass& b) {
  if (!a.exclusive && !b.exclusive) return false;
  return a.offset < b.offset ? b.offset - a.offset < a.length : a.offset - b.offset < b.length;
}

bool RangeGate::blocked(const Pass& pass) const {
  if (pass.exclusive && !drained_) return true;
  for (const Pass* earlier = pass.prev_; earlier != nullptr; earlier = earlier->prev_) {
    if (conflict(*earlier, pass)) return true;
  }
  return false;
}

void RangeGate::look_for_drained() {
  drained_ = drained_ || std::ranges::all_of(lanes_, [](const Lane& lane) {
               return lane.inside.load(std::memory_order_seq_cst) == 0;
             });
}

bool RangeGate::enter(Pass& pass, uint32_t lane, Reactor& reactor) {
  if (!pass.exclusive) {
    lanes_[lane % kLanes].add(1);
    if (exclusive_.load(std::memory_order_seq_cst) == 0) [[likely]] {
      pass.place_ = Pass::Place::kFast;
      return true;
    }
    lanes_[lane % kLanes].add(uint32_t(-1));
  }
  const std::lock_guard lock(mutex_);
  pass.reactor_ = &reactor;
  link(pass);
  if (pass.exclusive) exclusive_.fetch_add(1, std::memory_order_seq_cst);
  pass.place_ = Pass::Place::kWaiting;
  ++waiting_;
  if (exclusive_.load(std::memory_order_relaxed) != 0) look_for_drained();
  if (!blocked(pass)) {
    pass.place_ = Pass::Place::kInside;
    --waiting_;
  }
  // A compare may wait because this thread raised its count for a moment.
  const bool inside = pass.place_ == Pass::Place::kInside;
  grant();
  return inside;
}

void RangeGate::leave(Pass& pass, uint32_t lane) {
  if (pass.place_ == Pass::Place::kFast) {
    pass.place_ = Pass::Place::kOutside;
    lanes_[lane % kLanes].add(uint32_t(-1));
    if (exclusive_.load(std::memory_order_seq_cst) == 0) [[likely]]
      return;
    const std::lock_guard lock(mutex_);
    if (exclusive_.load(std::memory_order_relaxed) != 0) look_for_drained();
    return grant();
  }
  const std::lock_guard lock(mutex_);
  remove(pass);
  grant();
}

bool RangeGate::cancel(Pass& pass) {
  const std::lock_guard lock(mutex_);
  if (pass.place_ == Pass::Place::kWaiting) {
    --waiting_;
  } else if (pass.place_ != Pass::Place::kInside || !pass.reactor_->cancel(pass)) {
    return false;
  }
  remove(pass);
  grant();
  return true;
}

void RangeGate::remove(Pass& pass) {
  unlink(pass);
  if (pass.exclusive && exclusive_.fetch_sub(1, std::memory_order_seq_cst) == 1) drained_ = false;
  pass.place_ = Pass::Place::kOutside;
}

bool RangeGate::empty() {
  const std::lock_guard lock(mutex_);
  return first_ == nullptr && std::ranges::all_of(lanes_, [](const Lane& lane) {
           return lane.inside.load(std::memory_order_seq_cst) == 0;
         });
}

void RangeGate::grant() {
  for (Pass* pass = first_; pass != nullptr && waiting_ != 0;) {
    Pass* const next = pass->next_;
    if (pass->place_ == Pass::Place::kWaiting && !blocked(*pass)) {
      pass->place_ = Pass::Place::kInside;
      --waiting_;
      pass->reactor_->post(*pass);
    }
    pass = next;
  }
}

void RangeGate::link(Pass& pass) {
  pass.next_ = nullptr;
  pass.prev_ = last_;
  (last_ != nullptr ? last_->next_ : first_) = &pass;
  last_ = &pass;
}

void RangeGate::unlink(Pass& pass) {
  (pass.prev_ != nullptr ? pass.prev_->next_ : first_) = pass.next_;
  (pass.next_ != nullptr ? pass.next_->prev_ : last_) = pass.prev_;
}

}  // namespace mrpool::storage
