#include "examples/iser/initiator/attempts.h"

#include "absl/strings/str_cat.h"
#include "examples/load/backoff.h"

namespace mrpool::iser {
namespace {

constexpr scsi::Sense kBecomingReady{scsi::SenseKey::kNotReady, 0x04, 0x01};

bool refused_for_now(const Command& command) {
  if (command.status == scsi::Status::kBusy || command.status == scsi::Status::kTaskSetFull) {
    return true;
  }
  return command.sense && (command.sense->same_code(kBecomingReady) ||
                           command.sense->key == scsi::SenseKey::kAbortedCommand);
}

}  // namespace

Attempts::Next Attempts::judge(const Command& command) {
  if (command.good()) return Next::kDone;
  if (command.lost) return Next::kFailed;
  if (command.sense && command.sense->key == scsi::SenseKey::kUnitAttention) {
    return ++attentions_ > kMostAttentions ? Next::kFailed : Next::kAttention;
  }
  if (!refused_for_now(command) || retries_ == load::kMostRetries) return Next::kFailed;
  delay_ = load::retry_delay(retries_++);
  return Next::kLater;
}

absl::Status failure(const Command& command, const Session& session) {
  return command.lost ? session.error() : absl::DataLossError(describe(command));
}

absl::Status check_moved(uint64_t asked, uint32_t moved, uint32_t overflow) {
  if (moved == asked && overflow == 0) return absl::OkStatus();
  return absl::DataLossError(
      absl::StrCat("the target moved ", uint64_t{moved} + overflow, " bytes of ", asked));
}

}  // namespace mrpool::iser
