#include "examples/nvmf/target/write_protection.h"

#include "absl/strings/str_cat.h"
#include "examples/storage/state_file.h"

namespace mrpool::nvmf_target {
namespace {

constexpr char kProtected[] = "write-protected\n";

}  // namespace

absl::StatusOr<std::shared_ptr<WriteProtection>> WriteProtection::open(const std::string& path) {
  const absl::StatusOr<std::string> content = storage::read_state(path);
  if (!content.ok()) return content.status();
  if (!content->empty() && *content != kProtected) {
    return absl::DataLossError(absl::StrCat(
        path, ": the kept write protection is unreadable; remove the file to allow writes"));
  }
  auto protection = std::make_shared<WriteProtection>();
  protection->path_ = path;
  protection->on_.store(!content->empty(), std::memory_order_relaxed);
  return protection;
}

nvme::Status WriteProtection::set(bool on, bool& changed) {
  const std::lock_guard lock(mutex_);
  changed = false;
  if (this->on() == on) return nvme::Status::kSuccess;
  if (!storage::write_state(path_, on ? kProtected : "").ok()) return nvme::Status::kInternal;
  on_.store(on, std::memory_order_relaxed);
  changed = true;
  return nvme::Status::kSuccess;
}

}  // namespace mrpool::nvmf_target
