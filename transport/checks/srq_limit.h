// The limit event of an Srq (Srq::arm_limit), counted here for both transports.
//
// Thread safety: the reactor of its Srq.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "mrpool/callback.h"
#include "mrpool/qp.h"

namespace mrpool::checks {

class SrqLimit {
 public:
  SrqLimit(Srq& srq, Reactor& reactor, SrqEvents* events)
      : srq_(srq), reactor_(reactor), events_(events) {}
  ~SrqLimit() { reactor_.cancel(task_); }
  SrqLimit(const SrqLimit&) = delete;
  SrqLimit& operator=(const SrqLimit&) = delete;

  absl::Status arm(uint32_t limit, uint32_t max_wr) {
    if (events_ == nullptr) {
      return absl::FailedPreconditionError(
          "Srq::arm_limit needs SrqOptions::events, which are null");
    }
    if (limit > max_wr) {
      return absl::InvalidArgumentError(
          absl::StrCat("the limit ", limit, " exceeds the Srq's max_wr of ", max_wr));
    }
    limit_ = limit;
    check(srq_.posted());
    return absl::OkStatus();
  }
  // A receive was taken and so many are left.
  void check(uint32_t posted) {
    if (posted >= limit_) return;
    limit_ = 0;
    if (due_++ == 0) reactor_.post(task_);
  }

 private:
  // The last thing it does is the call: the Srq may be destroyed from there.
  void call() {
    if (--due_ > 0) reactor_.post(task_);
    events_->on_srq_limit(srq_);
  }

  Srq& srq_;
  Reactor& reactor_;
  SrqEvents* const events_;
  uint32_t limit_ = 0;  // not armed
  uint32_t due_ = 0;    // calls that are on their way
  Bound<Task, &SrqLimit::call> task_{*this};
};

}  // namespace mrpool::checks
