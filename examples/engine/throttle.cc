#include "examples/engine/throttle.h"

#include <algorithm>
#include <chrono>

namespace mrpool::engine {
namespace {

// How long a line waits before it looks whether the limits have changed.
constexpr Nanoseconds kLook = std::chrono::milliseconds(50);
// A turn that is due already comes in the next round of the loop.
constexpr Nanoseconds kNextRound{1};
// The most commands of a line that start in one round of the loop. A line whose limit was removed
// would else delay the other hosts of the thread.
constexpr int kMostInTurn = 32;

}  // namespace

void HeldCommand::cancel() { line_->remove(*this); }

HeldLine::HeldLine(Reactor& reactor, Limiter& limiter, HostTurns& turns)
    : reactor_(reactor), limiter_(limiter), credit_(limiter, turns) {}

bool HeldLine::pass(HeldCommand& command, const IoCost& cost) {
  if (held_.empty() && limiter_.take(cost, reactor_.now())) return true;
  command.line_ = this;
  command.cost_ = cost;
  held_.push_back(command);
  waiting_.add(cost);
  if (!timer_.armed()) wait();
  return false;
}

void HeldLine::remove(HeldCommand& command) {
  waiting_.remove(command.cost_);
  command.unlink();
  command.line_ = nullptr;
  if (!held_.empty()) return;
  credit_.leave();
  timer_.cancel();
}

void HeldLine::wait() {
  const Nanoseconds now = reactor_.now();
  if (!credit_.reserved()) due_ = credit_.reserve(waiting_, now);
  timer_.arm(reactor_, std::clamp(due_ - now, kNextRound, kLook));
}

// The reservation's time has come, or it is time to look. One part for each turn, so that the
// other lines of this thread have theirs.
void HeldLine::turn() {
  turning_ = true;
  if (due_ <= reactor_.now() || !credit_.current()) credit_.collect();
  for (int started = 0; started < kMostInTurn && !held_.empty(); ++started) {
    if (!credit_.pay(held_.front().cost_)) break;
    HeldCommand& command = held_.front();
    remove(command);
    command.go_(command);
  }
  if (!held_.empty()) wait();
  turning_ = false;
}

Throttle::Throttle(Reactor& reactor, std::shared_ptr<Limiter> limiter, std::string_view host)
    : limiter_(std::move(limiter)),
      turns_(limiter_->turns_of(host)),
      reads_(reactor, *limiter_, *turns_),
      writes_(reactor, *limiter_, *turns_) {}

std::shared_ptr<Throttle> Throttles::get(const std::shared_ptr<Limiter>& limiter,
                                         std::string_view host) {
  std::erase_if(
      all_, [](const auto& each) { return each.second.use_count() == 1 && !each.second->busy(); });
  std::shared_ptr<Throttle>& throttle = all_[{limiter, std::string(host)}];
  if (throttle == nullptr) throttle = std::make_shared<Throttle>(reactor_, limiter, host);
  return throttle;
}

}  // namespace mrpool::engine
