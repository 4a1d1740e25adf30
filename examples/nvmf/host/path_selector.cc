#include "examples/nvmf/host/path_selector.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace mrpool::nvme::host {
namespace {

// How often commands without a path look for one.
constexpr Nanoseconds kLook = std::chrono::milliseconds(10);

}  // namespace

// Null: none can be used now.
PathSelector::Member* PathSelector::choose() {
  Member* best = nullptr;
  for (const AnaState wanted : {AnaState::kOptimized, AnaState::kNonOptimized}) {
    for (size_t i = 1; i <= members_.size(); ++i) {
      Member& each = members_[(last_ + i) % members_.size()];
      if (!each.queue->ready() || each.path->state() != wanted) continue;
      if (best == nullptr || each.queue->outstanding() < best->queue->outstanding()) best = &each;
      if (policy_ == PathPolicy::kRoundRobin) break;
    }
    if (best != nullptr) break;
  }
  if (best != nullptr) last_ = size_t(best - members_.data());
  return best;
}

bool PathSelector::all_over() const {
  return std::ranges::all_of(members_, [](const Member& each) { return each.path->over(); });
}

void PathSelector::submit(Command& command) {
  // The queue of an only path knows how to wait.
  Member* const member = members_.size() == 1 ? members_.data() : choose();
  if (member == nullptr) {
    waiting_.push(command);
    if (!timer_.armed()) timer_.arm(reactor_, kLook);
    return;
  }
  command.path_ = size_t(member - members_.data());
  ++member->commands;
  member->queue->submit(command);
}

bool PathSelector::take_back(Command& command, Status status) {
  if (members_.size() == 1 || !is_path_error(status) || do_not_retry(status)) return false;
  if (all_over()) return false;
  if (!ended_here(status)) members_[command.path_].path->suspect();
  ++failovers_;
  submit(command);
  return true;
}

void PathSelector::try_waiting() {
  const bool hopeless = all_over();
  RequestList now = std::exchange(waiting_, RequestList());
  while (!now.empty()) {
    auto& command = static_cast<Command&>(now.pop());
    hopeless ? owner_.on_no_path(command) : submit(command);
  }
}

}  // namespace mrpool::nvme::host
