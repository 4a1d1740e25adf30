// Decides whether the answer to a command is final, or the command must be submitted again.
//
// A target refuses a command temporarily with BUSY, with TASK SET FULL, while it becomes ready
// (04/01), or when it aborted the command itself (SAM-5 §5.3, SPC-4 §4.5.6). It reports each unit
// attention in the answer to one command, which it does not execute. The number of attempts is
// limited in both cases.
//
// Thread safety: a value.
#pragma once

#include <cstdint>

#include "examples/iser/initiator/session.h"

namespace mrpool::iser {

class Attempts {
 public:
  enum class Next : uint8_t {
    kDone,
    kFailed,
    kAttention,  // submit again, after checking the unit again
    kLater,      // submit again after delay()
  };

  // A reset, a mode change, new units and a new size are each reported once.
  static constexpr uint8_t kMostAttentions = 8;

  Next judge(const Command& command);
  Nanoseconds delay() const { return delay_; }

 private:
  uint8_t attentions_ = 0;
  uint8_t retries_ = 0;
  Nanoseconds delay_{0};
};

// Why `command` failed: the session's error() (Unavailable and others) if it was lost, else
// DataLoss with the target's answer.
absl::Status failure(const Command& command, const Session& session);

// DataLoss if a command that reads or writes blocks succeeded but transferred another amount than
// requested.
absl::Status check_moved(uint64_t asked, uint32_t moved, uint32_t overflow);

}  // namespace mrpool::iser
