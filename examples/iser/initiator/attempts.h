// What an initiator makes of the answer to a command: final, or to be submitted again.
//
// A target refuses a command for now by BUSY, by TASK SET FULL, because it becomes ready (04/01),
// or because it aborted the command itself (SAM-5 §5.3, SPC-4 §4.5.6); and it reports each unit
// attention by one command that it does not carry out. Neither goes on for ever.
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
    kAttention,  // at once, after whoever has to know the unit has looked at it again
    kLater,      // after delay()
  };

  // A reset, a mode change, new units, a new size: each is reported once.
  static constexpr uint8_t kMostAttentions = 8;

  Next judge(const Command& command);
  Nanoseconds delay() const { return delay_; }

 private:
  uint8_t attentions_ = 0;
  uint8_t retries_ = 0;
  Nanoseconds delay_{0};
};

// Why `command` failed: Unavailable and the like as the session's error() when it was lost, else
// DataLoss with what the target said.
absl::Status failure(const Command& command, const Session& session);

// DataLoss when a command that reads or writes blocks succeeded without moving what was asked.
absl::Status check_moved(uint64_t asked, uint32_t moved, uint32_t overflow);

}  // namespace mrpool::iser
