#include "transport/verbs/pd.h"

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "transport/checks/memory.h"
#include "transport/verbs/device.h"
#include "transport/verbs/errors.h"
#include "transport/verbs/fast_mr.h"
#include "transport/verbs/mr.h"
#include "transport/verbs/srq.h"

namespace mrpool::verbs {

absl::StatusOr<std::unique_ptr<VerbsPd>> VerbsPd::create(std::shared_ptr<VerbsDevice> device) {
  ibv_pd* pd = ibv_alloc_pd(device->context());
  if (pd == nullptr) {
    return errno_status(errno, "allocating a protection domain", device->caps().name);
  }
  return std::make_unique<VerbsPd>(std::move(device), pd);
}

VerbsPd::VerbsPd(std::shared_ptr<VerbsDevice> device, ibv_pd* pd)
    : device_(std::move(device)), pd_(pd) {}

VerbsPd::~VerbsPd() {
  if (ibv_dealloc_pd(pd_) != 0) die("a Pd was destroyed before what was made from it");
}

const DeviceCaps& VerbsPd::caps() const { return device_->caps(); }

absl::StatusOr<std::unique_ptr<Mr>> VerbsPd::reg_mr(std::span<std::byte> memory, Access access) {
  absl::StatusOr<std::unique_ptr<Mr>> mr = make_mr(memory, access);
  if (!mr.ok()) counters_.refused();
  return mr;
}

absl::StatusOr<std::unique_ptr<Mr>> VerbsPd::make_mr(std::span<std::byte> memory, Access access) {
  Granted granted;
  if (absl::Status status = grant(access, caps().access, granted); !status.ok()) return status;
  if (absl::Status status = checks::check_range(memory); !status.ok()) return status;
  // The kernel does not refuse all of it on every device, and its EFAULT does not name the byte.
  if (absl::Status status = checks::check_mapped(memory, access); !status.ok()) return status;
  uint32_t flags = mrpool::to_ibv(access);
  // So that windows of the pool can be bound to it; gives no right by itself.
  if (caps().registration == Registration::kMemoryWindow) flags |= IBV_ACCESS_MW_BIND;
  ibv_mr* mr = ibv_reg_mr(pd_, memory.data(), memory.size(), flags);
  if (mr == nullptr) return registration_status(errno, memory.size(), caps().name);
  return std::make_unique<VerbsMr>(*this, mr, memory, granted);
}

absl::StatusOr<std::unique_ptr<FastMr>> VerbsPd::alloc_fast_mr(const FastMrOptions& options) {
  Granted granted;
  if (absl::Status status = grant(options.ceiling, caps().access, granted); !status.ok()) {
    return status;
  }
  if (options.sg_gaps) {
    return absl::InvalidArgumentError(
        absl::StrCat(caps().name, " cannot map ranges with gaps (caps().sg_gaps is false)"));
  }
  if (options.integrity != IntegrityCapacity{}) {
    return absl::UnimplementedError(
        absl::StrCat(caps().name, " has no integrity MRs (caps().max_integrity_blocks is 0)"));
  }
  if (options.max_segments == 0 || options.max_segments > caps().max_fast_reg_segments) {
    return absl::InvalidArgumentError(absl::StrCat("max_segments is ", options.max_segments,
                                                   "; an MR of ", caps().name, " maps 1 to ",
                                                   caps().max_fast_reg_segments));
  }
  if (caps().registration == Registration::kPreRegistered) {
    return std::make_unique<BaseKeyMr>(*this, options.ceiling);
  }
  absl::StatusOr<std::unique_ptr<WindowMr>> window = WindowMr::create(*this, options.ceiling);
  if (!window.ok()) return window.status();
  return std::unique_ptr<FastMr>(*std::move(window));
}

void VerbsPd::release_windows(uint32_t owner) {
  const std::lock_guard lock(mutex_);
  for (WindowMr* window : all_windows_) {
    if (window->owner() == owner && !window->recycle().ok()) die("a bound window cannot be freed");
  }
}

void VerbsPd::release_windows(const VerbsMr& base) {
  const std::lock_guard lock(mutex_);
  for (WindowMr* window : all_windows_) {
    if (window->owner() != 0 && window->base() == &base && !window->recycle().ok()) {
      die("a bound window cannot be freed");
    }
  }
}

absl::StatusOr<std::unique_ptr<Srq>> VerbsPd::create_srq(Reactor& reactor,
                                                         const SrqOptions& options) {
  absl::StatusOr<std::unique_ptr<VerbsSrq>> srq = VerbsSrq::create(*this, reactor, options);
  if (!srq.ok()) return srq.status();
  counters_.made_srq();
  return std::unique_ptr<Srq>(*std::move(srq));
}

}  // namespace mrpool::verbs
