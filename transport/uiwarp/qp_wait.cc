// UiwarpQp: a message that finds no receive waits for one (QpOptions::receive_wait).
//
// Meanwhile nothing is read from the stream, so the peer's TCP connection fills up and stops.
// Everything that the peer sent after the message waits with it, since a stream has one order.
// An owner that posts a receive only after it has got a later message waits in vain.
//
// A Qp that waits is not hot, so its round costs nothing; the receive that is posted makes it hot.
// The owner sets the time-out, from the loop, when a wait begins. A peer that closes is not read
// either, so whether it has is looked up now and then.
#include <algorithm>
#include <utility>

#include "transport/uiwarp/qp.h"

namespace mrpool::uiwarp {

namespace {

// How often a waiting Qp looks whether its peer has closed.
constexpr Nanoseconds kLook = std::chrono::seconds(1);
// How long its messages wait when it has.
constexpr Nanoseconds kWithoutPeer = std::chrono::seconds(5);

}  // namespace

// Goes on with the message that waits, where it can. True when there was something to do.
bool UiwarpQp::go_on() {
  ReceiveSide& side = core_.receive_side();
  if (!side.may_go_on()) return false;
  end_wait();
  side.go_on();
  bool good = true;
  {
    const Quiescence::Section section(context_->reader());
    good = receiver_.resume();
  }
  if (core_.withheld() != nullptr && !core_.withheld()->empty()) context_->make_withholding(*this);
  if (!good || core_.failed()) core_failed();
  return true;
}

// Every time it finds that nothing has come for it.
void UiwarpQp::wait_for_receive() {
  hot_node.unlink();
  core_.receive_side().receives().wait(*this);
  if (wait_end_ != Nanoseconds::zero() || wait_begun_) return;
  wait_begun_ = true;
  context_->defer(*this);
}

void UiwarpQp::ask_how_long() {
  if (!std::exchange(wait_begun_, false)) return;
  if (!receiver_.holds() || core_.receive_side().may_go_on()) return;  // it came meanwhile
  const Nanoseconds now = context_->reactor().now();
  const Nanoseconds most = Nanoseconds::max() - now;
  wait_end_ = now + std::clamp(events_.on_receive_wait(*this), Nanoseconds::zero(), most);
  peer_closed_ = {};
  waited();
}

void UiwarpQp::waited() {
  ReceiveSide& side = core_.receive_side();
  if (state_ == State::kEnded || !receiver_.holds() || side.may_go_on()) return;
  const Nanoseconds now = context_->reactor().now();
  if (now >= wait_end_) {
    side.give_up();
    core_failed();
    return;
  }
  if (peer_closed_ == Nanoseconds::zero() && stream_->peer_closed()) peer_closed_ = now;
  if (peer_closed_ != Nanoseconds::zero() && now - peer_closed_ >= kWithoutPeer) {
    end(DisconnectReason::kPeer, "the peer has closed, and its last message found no receive");
    return;
  }
  wait_timer_.arm(context_->reactor(), std::min(kLook, wait_end_ - now));
}

void UiwarpQp::end_wait() {
  waiting_node.unlink();
  wait_timer_.cancel();
  wait_begun_ = false;
  wait_end_ = {};
}

}  // namespace mrpool::uiwarp
