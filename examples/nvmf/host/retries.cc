#include "examples/nvmf/host/retries.h"

#include <algorithm>

#include "examples/load/backoff.h"

namespace mrpool::nvme::host {

bool Retries::take(Request& request, Status status, Reactor& reactor) {
  if (do_not_retry(status) || request.retries_ == load::kMostRetries) return false;
  const unsigned named = nvme::retry_delay(status);
  Nanoseconds delay = load::retry_delay(request.retries_);
  if (named != 0) delay = delays_[named - 1];
  delay = std::min(delay, longest_);
  ++request.retries_;
  request.due_ = reactor.now() + delay;
  list_.push(request);
  if (!due_.armed() || request.due_ < next_) {
    next_ = request.due_;
    due_.arm(reactor, delay);
  }
  return true;
}

void Retries::move_due(RequestList& to, Reactor& reactor) {
  RequestList others;
  next_ = Nanoseconds::max();
  while (!list_.empty()) {
    Request& request = list_.pop();
    const bool later = request.due_ > reactor.now();
    if (later) next_ = std::min(next_, request.due_);
    (later ? others : to).push(request);
  }
  list_ = others;
  if (!list_.empty()) due_.arm(reactor, next_ - reactor.now());
}

void Retries::move_all(RequestList& to) {
  due_.cancel();
  while (!list_.empty()) to.push(list_.pop());
}

}  // namespace mrpool::nvme::host
