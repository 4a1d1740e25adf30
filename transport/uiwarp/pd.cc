#include "transport/uiwarp/pd.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "transport/checks/limits.h"
#include "transport/checks/memory.h"
#include "transport/uiwarp/check.h"
#include "transport/uiwarp/device.h"
#include "transport/uiwarp/fast_mr.h"
#include "transport/uiwarp/mr.h"
#include "transport/uiwarp/srq.h"

namespace mrpool::uiwarp {

UiwarpPd::UiwarpPd(std::shared_ptr<UiwarpDevice> device, uint64_t id)
    : device_(std::move(device)), id_(id) {}

const DeviceCaps& UiwarpPd::caps() const { return device_->caps(); }

absl::StatusOr<std::unique_ptr<Mr>> UiwarpPd::reg_mr(std::span<std::byte> memory, Access access) {
  absl::StatusOr<std::unique_ptr<Mr>> mr = make_mr(memory, access);
  if (!mr.ok()) counters_.refused();
  return mr;
}

absl::StatusOr<std::unique_ptr<Mr>> UiwarpPd::make_mr(std::span<std::byte> memory, Access access) {
  Granted granted;
  if (absl::Status status = grant(access, caps().access, granted); !status.ok()) return status;
  if (absl::Status status = checks::check_range(memory); !status.ok()) return status;
  if (absl::Status status = checks::check_mapped(memory, access); !status.ok()) return status;
  uint32_t stag = 0;
  KeySlot* slot = device_->keys().allocate(stag);
  if (slot == nullptr) {
    return absl::ResourceExhaustedError(
        absl::StrCat("max_mr: all ", caps().max_mr, " keys of the device are in use"));
  }
  return std::make_unique<UiwarpMr>(device_->keys(), counters_, slot, stag, id_, memory, granted);
}

absl::StatusOr<std::unique_ptr<FastMr>> UiwarpPd::alloc_fast_mr(const FastMrOptions& options) {
  absl::StatusOr<std::unique_ptr<UiwarpFastMr>> key =
      UiwarpFastMr::create(device_->keys(), device_->segments(), *this, id_, caps(), options);
  if (!key.ok()) return key.status();
  (*key)->count_in(counters_);
  return std::unique_ptr<FastMr>(*std::move(key));
}

absl::StatusOr<std::unique_ptr<Srq>> UiwarpPd::create_srq(Reactor& reactor,
                                                          const SrqOptions& options) {
  check_thread(reactor, "Pd::create_srq");
  if (absl::Status status =
          checks::check_srq_options(options, caps().max_qp_wr, caps().max_sge, caps().name);
      !status.ok()) {
    return status;
  }
  counters_.made_srq();
  return std::make_unique<UiwarpSrq>(device_->keys(), id_, reactor, options);
}

}  // namespace mrpool::uiwarp
