// Posted receives, in a ring that is allocated once: the receive queue of a Qp, or the queue of an
// Srq.
//
// Thread safety: its reactor's thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "mrpool/qp.h"
#include "transport/checks/srq_limit.h"
#include "transport/uiwarp/key_table.h"
#include "transport/uiwarp/limits.h"
#include "transport/uiwarp/list.h"

namespace mrpool::uiwarp {

struct Receive {
  Completion* completion = nullptr;
  uint64_t bytes = 0;  // room
  uint32_t sge_count = 0;
  std::array<Sge, kMaxSges> sges;
};

// A connection whose next message found no receive.
class ReceiveWaiter {
 public:
  // One was posted; others may be faster.
  virtual void receive_posted() = 0;
  ListNode waiting_node;

 protected:
  ~ReceiveWaiter() = default;
};

class RecvQueue {
 public:
  RecvQueue(uint32_t max_wr, uint32_t max_sge)
      : max_wr_(max_wr), max_sge_(max_sge), slots_(max_wr), sges_(size_t{max_wr} * max_sge) {}

  uint32_t capacity() const { return max_wr_; }
  uint32_t count() const { return count_; }
  // Of an Srq: `limit` is called with the number of posted receives.
  void watch(checks::SrqLimit& limit) { limit_ = &limit; }
  // A message took one.
  void taken() { limit_->check(count_); }
  bool empty() const { return count_ == 0; }
  // `waiter` is called for the next receive, after those that wait already.
  void wait(ReceiveWaiter& waiter) {
    if (!waiter.waiting_node.linked()) waiters_.push_back(waiter);
  }
  size_t memory_bytes() const { return slots_.size() * sizeof(Slot) + sges_.size() * sizeof(Sge); }

  PostStatus post(const RecvRequest& chain, const KeyTable& keys, const KeyUser& user) {
    for (const RecvRequest* request = &chain; request != nullptr; request = request->next) {
      if (count_ == max_wr_) return PostStatus::kQueueFull;
      if (request->sges.size() > max_sge_) return PostStatus::kTooManySges;
      uint64_t bytes = 0;
      for (const Sge& sge : request->sges) {
        KeyRange range;
        if (sge.length > 0 &&
            keys.resolve_local(sge, Access::kLocalWrite, user, range) != KeyError::kNone) {
          return PostStatus::kBadSge;
        }
        bytes += sge.length;
      }
      const uint32_t at = (head_ + count_) % max_wr_;
      slots_[at] = {request->completion, bytes, static_cast<uint32_t>(request->sges.size())};
      std::copy(request->sges.begin(), request->sges.end(), sges_.begin() + size_t{at} * max_sge_);
      ++count_;
      if (!waiters_.empty()) [[unlikely]]
        wake();
    }
    return PostStatus::kOk;
  }

  // Takes the oldest. Requires !empty().
  void take(Receive& out) {
    const Slot& slot = slots_[head_];
    out.completion = slot.completion;
    out.bytes = slot.bytes;
    out.sge_count = slot.sge_count;
    std::copy_n(sges_.begin() + size_t{head_} * max_sge_, slot.sge_count, out.sges.begin());
    head_ = head_ + 1 == max_wr_ ? 0 : head_ + 1;
    --count_;
  }

 private:
  struct Slot {
    Completion* completion = nullptr;
    uint64_t bytes = 0;
    uint32_t sge_count = 0;
  };
  void wake() {
    while (ReceiveWaiter* waiter = waiters_.pop_front()) waiter->receive_posted();
  }

  const uint32_t max_wr_;
  const uint32_t max_sge_;
  std::vector<Slot> slots_;
  std::vector<Sge> sges_;
  uint32_t head_ = 0;
  uint32_t count_ = 0;
  checks::SrqLimit* limit_ = nullptr;
  List<ReceiveWaiter, &ReceiveWaiter::waiting_node> waiters_;
};

}  // namespace mrpool::uiwarp
