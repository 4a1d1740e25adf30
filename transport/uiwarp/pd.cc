#include "transport/uiwarp/pd.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "transport/uiwarp/device.h"
#include "transport/uiwarp/errors.h"
#include "transport/uiwarp/fast_mr.h"
#include "transport/uiwarp/mr.h"
#include "transport/uiwarp/srq.h"

namespace mrpool::uiwarp {

UiwarpPd::UiwarpPd(std::shared_ptr<UiwarpDevice> device, uint64_t id)
    : device_(std::move(device)), id_(id) {}

const DeviceCaps& UiwarpPd::caps() const { return device_->caps(); }

absl::StatusOr<std::unique_ptr<Mr>> UiwarpPd::reg_mr(std::span<std::byte> memory, Access access) {
  Granted granted;
  if (absl::Status status = grant(access, caps().access, granted); !status.ok()) return status;
  if (memory.empty()) return absl::InvalidArgumentError("the memory to register is empty");
  uint32_t stag = 0;
  KeySlot* slot = device_->keys().allocate(stag);
  if (slot == nullptr) {
    return absl::ResourceExhaustedError(
        absl::StrCat("max_mr: all ", caps().max_mr, " keys of the device are in use"));
  }
  return std::make_unique<UiwarpMr>(device_->keys(), slot, stag, id_, memory, granted);
}

absl::StatusOr<std::unique_ptr<FastMr>> UiwarpPd::alloc_fast_mr(const FastMrOptions& options) {
  absl::StatusOr<std::unique_ptr<UiwarpFastMr>> key =
      UiwarpFastMr::create(device_->keys(), id_, caps(), options);
  if (!key.ok()) return key.status();
  return std::unique_ptr<FastMr>(*std::move(key));
}

absl::StatusOr<std::unique_ptr<Srq>> UiwarpPd::create_srq(Reactor& reactor,
                                                          const SrqOptions& options) {
  if (options.max_wr == 0 || options.max_wr > caps().max_qp_wr) {
    return over_limit("SrqOptions::max_wr", options.max_wr, caps().max_qp_wr);
  }
  if (options.max_sge == 0 || options.max_sge > caps().max_sge) {
    return over_limit("SrqOptions::max_sge", options.max_sge, caps().max_sge);
  }
  return std::make_unique<UiwarpSrq>(device_->keys(), id_, reactor, options);
}

}  // namespace mrpool::uiwarp
