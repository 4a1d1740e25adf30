// Cq of uiwarp: a ring of finished work that the reactor's round hands to its owners.
//
// push() never calls anybody; dispatch() does, from the round. The ring has a place for every
// request that the attached Qps can have outstanding. It grows where an Srq is posted to faster
// than its completions are delivered. So push() cannot fail.
//
// Thread safety: its reactor's thread.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "mrpool/qp.h"
#include "transport/checks/limits.h"
#include "transport/uiwarp/context.h"
#include "transport/uiwarp/list.h"
#include "transport/uiwarp/sanitizer.h"

namespace mrpool::uiwarp {

class UiwarpCq final : public Cq {
 public:
  UiwarpCq(std::shared_ptr<Context> context, const CqOptions& options);
  // Without a context: keeps the completions of a detached Qp until move_to().
  UiwarpCq();
  ~UiwarpCq() override;

  Reactor& reactor() override { return context_->reactor(); }
  Context& context() { return *context_; }
  const std::shared_ptr<Context>& shared_context() const { return context_; }

  // A Qp comes or goes with its share of the depth. The ring grows with what its Qps need.
  void attach(const checks::CqRoom::Share& share);
  void detach(const checks::CqRoom::Share& share) { room_.remove(share); }
  const checks::CqRoom& room() const { return room_; }

  // `point`: the data that must be visible when done() runs; nothing without the sanitizer.
  void push(Completion* completion, const WorkCompletion& wc, const OrderPoint& point = {}) {
    if (count_ == ring_.size()) [[unlikely]]
      grow(ring_.size() * 2);
    ring_[(head_ + count_++) & (ring_.size() - 1)] = {completion, wc, point};
    if (!node.linked()) context_->ready(*this);
  }
  // Calls done() for what is there now; true when there was something.
  bool dispatch();
  // Calls done() for the entries of one Qp, which is being destroyed.
  void dispatch_for(const Qp* qp);
  // True while there are completions of that Qp.
  bool holds(const Qp* qp) const;
  // Moves the entries of that Qp to the end of another queue, in their order: those of receives, or
  // the others.
  void move_to(UiwarpCq& other, const Qp* qp, bool receives);

  ListNode node;  // in the context's list of queues with completions

 private:
  struct Entry {
    Completion* completion = nullptr;
    WorkCompletion wc;
    OrderPoint point;
  };
  void grow(size_t entries);

  std::shared_ptr<Context> context_;
  std::vector<Entry> ring_;  // a power of two
  size_t head_ = 0;
  size_t count_ = 0;
  checks::CqRoom room_;
};

}  // namespace mrpool::uiwarp
