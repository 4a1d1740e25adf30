#include "transport/uiwarp/cq.h"

#include <bit>

#include "transport/uiwarp/check.h"
#include "transport/uiwarp/qp.h"

namespace mrpool::uiwarp {

UiwarpCq::UiwarpCq(std::shared_ptr<Context> context, const CqOptions& options)
    : context_(std::move(context)), room_(options.depth) {
  grow(0);
}

UiwarpCq::UiwarpCq() : room_(0) {
  grow(0);
  node.next = node.prev = &node;  // linked, so that no push() calls for a context
}

UiwarpCq::~UiwarpCq() {
  if (context_ == nullptr) return;
  check_thread(reactor(), "~Cq");
  check(room_.used() == 0, "a Cq was destroyed before a Qp that uses it");
}

void UiwarpCq::attach(const checks::CqRoom::Share& share) {
  room_.add(share);
  if (room_.used() > ring_.size()) grow(room_.used());
}

void UiwarpCq::grow(size_t entries) {
  std::vector<Entry> bigger(std::bit_ceil(entries < 16 ? size_t{16} : entries));
  for (size_t i = 0; i < count_; ++i) bigger[i] = ring_[(head_ + i) & (ring_.size() - 1)];
  ring_ = std::move(bigger);
  head_ = 0;
}

bool UiwarpCq::dispatch() {
  // Only what is there now: a done() that posts again gets its answer in the next round, so that
  // other queues have their turn.
  bool worked = false;
  for (size_t budget = count_; budget > 0 && count_ > 0; --budget) {
    const Entry entry = ring_[head_];
    if (entry.point.stamp != 0 && entry.completion != nullptr) [[unlikely]] {
      if (!static_cast<UiwarpQp*>(entry.wc.qp)->reach(entry.point)) break;
    }
    head_ = (head_ + 1) & (ring_.size() - 1);
    --count_;
    if (entry.completion == nullptr) continue;
    worked = true;
    entry.completion->done(entry.wc);
  }
  if (count_ > 0 && !node.linked()) context_->ready(*this);
  return worked;
}

bool UiwarpCq::holds(const Qp* qp) const {
  for (size_t i = 0; i < count_; ++i) {
    const Entry& entry = ring_[(head_ + i) & (ring_.size() - 1)];
    if (entry.completion != nullptr && entry.wc.qp == qp) return true;
  }
  return false;
}

void UiwarpCq::move_to(UiwarpCq& other, const Qp* qp, bool receives) {
  for (size_t i = 0; i < count_; ++i) {
    Entry& entry = ring_[(head_ + i) & (ring_.size() - 1)];
    if (entry.completion == nullptr || entry.wc.qp != qp) continue;
    if (is_receive(entry.wc.opcode) != receives) continue;
    other.push(entry.completion, entry.wc, entry.point);
    entry.completion = nullptr;
  }
}

void UiwarpCq::dispatch_for(const Qp* qp) {
  for (size_t i = 0; i < count_; ++i) {
    // done() may push, which may move the ring: nothing of it is held across the call.
    Entry& entry = ring_[(head_ + i) & (ring_.size() - 1)];
    if (entry.completion == nullptr || entry.wc.qp != qp) continue;
    const Entry mine = entry;
    entry.completion = nullptr;
    mine.completion->done(mine.wc);
  }
}

}  // namespace mrpool::uiwarp
