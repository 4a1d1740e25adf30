// The half of Timer that every Reactor shares.
#include "mrpool/reactor.h"

namespace mrpool {

void Timer::arm(Reactor& reactor, Nanoseconds delay) {
  cancel();
  const Nanoseconds now = reactor.now();
  slot_.deadline = delay < Nanoseconds::max() - now ? now + delay : Nanoseconds::max();
  reactor_ = &reactor;
  reactor.arm_timer(*this);
}

void Timer::cancel() {
  if (reactor_ == nullptr) return;
  reactor_->cancel_timer(*this);
  reactor_ = nullptr;
}

}  // namespace mrpool
