// The write protection state of one namespace, which hosts set by feature 84h: "no write protect"
// or "write protect". It survives a restart, so it exists only with a place to keep it.
//
// Thread safety: shared objects: safe. set() waits for the disk: not on a reactor's thread.
// Clauses: [base] 8.12 write protection, 5.27.1.29 feature 84h.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>

#include "absl/status/statusor.h"
#include "examples/protocol/nvme/status.h"

namespace mrpool::nvmf_target {

class WriteProtection {
 public:
  // Without a path hosts cannot set it.
  WriteProtection() = default;
  // The state kept in the file. DataLoss: the content is not what set() writes.
  static absl::StatusOr<std::shared_ptr<WriteProtection>> open(const std::string& path);

  bool offered() const { return !path_.empty(); }
  bool on() const { return on_.load(std::memory_order_relaxed); }
  // True in `changed` if the state differs from before.
  nvme::Status set(bool on, bool& changed);

 private:
  std::string path_;
  std::mutex mutex_;  // one set() at a time
  // Relaxed: a command that is received after the answer about a change sees it, because the answer
  // reaches its queue by a mailbox, or its host by the network.
  std::atomic<bool> on_{false};
};

}  // namespace mrpool::nvmf_target
