// UiwarpQp: its way from one reactor to another.
//
// detach() takes the Qp out of everything that belongs to the reactor: the socket's watch, timers,
// the context's lists, the Cqs. Completions that have not been handed over wait in a queue of their
// own. attach() puts all of it into the other reactor's, whose first round reads the socket.
#include <memory>
#include <utility>

#include "transport/uiwarp/check.h"
#include "transport/uiwarp/device.h"
#include "transport/uiwarp/pd.h"
#include "transport/uiwarp/qp.h"

namespace mrpool::uiwarp {

absl::Status UiwarpQp::detach() {
  check_thread(reactor(), "Qp::detach");
  if (options_.srq != nullptr) {
    return absl::FailedPreconditionError(
        "the Qp takes its receives from an Srq, which stays on its reactor");
  }
  if (state_ != State::kConnected || !announced_) {
    return absl::FailedPreconditionError("the Qp is not connected");
  }
  parked_ = std::make_unique<UiwarpCq>();
  send_cq_->move_to(*parked_, this, /*receives=*/false);
  recv_cq_->move_to(*parked_, this, /*receives=*/true);
  core_.set_cqs(*parked_, *parked_);
  send_cq_->detach(shares_.send);
  recv_cq_->detach(shares_.recv);
  send_cq_ = recv_cq_ = nullptr;
  options_.send_cq = options_.recv_cq = nullptr;
  rest_.cancel();
  end_wait();
  hot_node.unlink();
  dirty_node.unlink();
  withholding_node.unlink();
  deferred_node.unlink();
  stream_->detach();
  context_.reset();
  state_ = State::kDetached;
  return absl::OkStatus();
}

absl::Status UiwarpQp::attach(Cq& send_cq, Cq& recv_cq) {
  if (state_ != State::kDetached) return absl::FailedPreconditionError("the Qp is not detached");
  QpOptions options = options_;
  options.send_cq = &send_cq;
  options.recv_cq = &recv_cq;
  const UiwarpDevice& device = static_cast<const UiwarpPd&>(pd_).device();
  if (absl::Status status = device.check_parts(pd_, options); !status.ok()) return status;
  auto& send = static_cast<UiwarpCq&>(send_cq);
  auto& recv = static_cast<UiwarpCq&>(recv_cq);
  check_thread(send.reactor(), "Qp::attach");
  if (absl::Status status = shares_.fit(send.room(), recv.room()); !status.ok()) return status;
  send_cq_ = &send;
  recv_cq_ = &recv;
  options_ = options;
  context_ = send.shared_context();
  send.attach(shares_.send);
  recv.attach(shares_.recv);
  core_.set_cqs(send, recv);
  const std::unique_ptr<UiwarpCq> parked = std::move(parked_);
  parked->move_to(send, this, /*receives=*/false);
  parked->move_to(recv, this, /*receives=*/true);
  stream_->attach(context_->reactor(), *this);
  state_ = State::kConnected;
  context_->make_hot(*this);
  context_->make_dirty(*this);
  if (core_.withheld() != nullptr && !core_.withheld()->empty()) {
    context_->make_withholding(*this);
  }
  return absl::OkStatus();
}

// The owner destroys a detached Qp: what is outstanding is flushed on this thread.
void UiwarpQp::end_detached() {
  state_ = State::kEnded;
  core_.counters().end(DisconnectReason::kLocal);
  if (core_.withheld() != nullptr) core_.withheld()->order_all();
  stream_.reset();
  batch_.reset();
  core_.flush();
  parked_->dispatch_for(this);
  registry_.remove(core_.counters());
}

}  // namespace mrpool::uiwarp
