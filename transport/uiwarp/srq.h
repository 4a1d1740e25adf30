// Srq of uiwarp: receives that several Qps of a Pd and a reactor take from, in order of posting.
//
// Thread safety: its reactor's thread.
#pragma once

#include "mrpool/qp.h"
#include "transport/checks/srq_limit.h"
#include "transport/uiwarp/check.h"
#include "transport/uiwarp/key_table.h"
#include "transport/uiwarp/recv_queue.h"

namespace mrpool::uiwarp {

class UiwarpSrq final : public Srq {
 public:
  UiwarpSrq(KeyTable& keys, uint64_t pd, Reactor& reactor, const SrqOptions& options)
      : keys_(keys),
        pd_(pd),
        reactor_(reactor),
        queue_(options.max_wr, options.max_sge),
        limit_(*this, reactor, options.events) {
    queue_.watch(limit_);
  }

  // What no message came for. The Qps that took from it are gone by now.
  ~UiwarpSrq() override {
    WorkCompletion flushed;
    flushed.status = WcStatus::kFlushed;
    flushed.opcode = Opcode::kRecv;
    for (Receive receive; !queue_.empty();) {
      queue_.take(receive);
      if (receive.completion != nullptr) receive.completion->done(flushed);
    }
  }

  PostStatus post_recv(const RecvRequest& chain) override {
    check_post_thread(reactor_, "Srq::post_recv");
    // Keys that are bound to one Qp do not do here: which Qp takes the receive is open.
    return queue_.post(chain, keys_, {.pd = pd_, .qp = 0});
  }

  uint32_t posted() const override { return queue_.count(); }
  absl::Status arm_limit(uint32_t limit) override {
    check_thread(reactor_, "Srq::arm_limit");
    return limit_.arm(limit, queue_.capacity());
  }

  RecvQueue& queue() { return queue_; }
  uint64_t pd() const { return pd_; }
  const KeyTable& keys() const { return keys_; }
  Reactor& reactor() { return reactor_; }

 private:
  KeyTable& keys_;
  const uint64_t pd_;
  Reactor& reactor_;
  RecvQueue queue_;
  checks::SrqLimit limit_;
};

}  // namespace mrpool::uiwarp
