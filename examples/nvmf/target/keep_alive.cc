// The keep-alive timer of a controller, [base] 7.12: its restart and its expiry. limits.h has its
// granularity. The host sets the time-out in Connect (target.cc) and by a feature (features.cc).
// examples/nvmf/host/limits.h has the time-out of mrpool's own host.
#include "examples/nvmf/target/controller.h"
#include "examples/nvmf/target/pages.h"

namespace mrpool::nvmf_target {

AdminReply Controller::keep_alive(const AdminRequest& request) {
  last_sign_ = request.now;
  return answer(0);
}

void Controller::note_traffic(Nanoseconds now) {
  if (!subsystem_->traffic_keep_alive) return;
  const std::lock_guard lock(mutex_);
  last_sign_ = now;
}

// The proof of the admin queue has a time limit of its own (queue_auth.cc).
void Controller::prove(Nanoseconds now) {
  const std::lock_guard lock(mutex_);
  last_sign_ = now;
  proven_.store(true, std::memory_order_relaxed);
}

bool Controller::keep_alive_expired(Nanoseconds now) {
  const std::lock_guard lock(mutex_);
  if (keep_alive_ms_ == 0 || !proven() ||
      now - last_sign_ <= std::chrono::milliseconds(keep_alive_ms_)) {
    return false;
  }
  csts_ |= nvme::kCstsFatal;
  return true;
}

}  // namespace mrpool::nvmf_target
