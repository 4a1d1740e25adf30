// Set and Get Features, [base] 5.27 and 5.15.
#include <algorithm>
#include <optional>

#include "examples/nvmf/target/controller.h"
#include "examples/nvmf/target/pages.h"

namespace mrpool::nvmf_target {

using nvme::Status;

namespace {

// The threshold that CDW11 of the Temperature Threshold feature selects, [base] 5.27.1.3: 0 over, 1
// under, of the composite temperature. No other sensor exists.
std::optional<size_t> threshold_of(uint32_t cdw11) {
  const uint32_t sensor = cdw11 >> 16 & 0xf;
  const uint32_t type = cdw11 >> 20 & 3;
  if (sensor != 0 || type > 1) return std::nullopt;
  return type;
}

constexpr uint32_t kAllNamespaces = 0xffffffff;

bool is_reservation_feature(uint32_t feature) {
  return feature == NVME_FEAT_FID_RESV_MASK || feature == NVME_FEAT_FID_RESV_PERSIST;
}

bool is_of_namespaces(uint32_t feature) {
  return is_reservation_feature(feature) || feature == NVME_FEAT_FID_WRITE_PROTECT;
}

}  // namespace

// Checks the nsid of a Set Features: for a feature of the whole controller it must be zero or the
// broadcast value, [base] 5.27. Success, or the status of the refusal.
Status Controller::feature_scope(uint32_t feature, uint32_t nsid) const {
  // Those of a namespace check it themselves.
  if (is_of_namespaces(feature)) return Status::kSuccess;
  if (nsid == 0 || nsid == kAllNamespaces) return Status::kSuccess;
  if (feature != NVME_FEAT_FID_ERR_RECOVERY) return Status::kFeatureNotNamespaceSpecific;
  const auto table = namespaces();
  if (table->find(nsid) == nullptr) return Status::kInvalidNamespace;
  return access_to(*table, nsid);
}

AdminReply Controller::set_features(const AdminRequest& request) {
  const nvme::Sqe& sqe = request.sqe;
  const uint32_t feature = sqe.cdw10 & 0xff;
  const uint32_t value = sqe.cdw11;
  if ((sqe.cdw10 & 1u << 31) != 0) return refuse(Status::kFeatureNotSaveable);
  const Status scope = feature_scope(feature, uint32_t(sqe.nsid));
  if (scope != Status::kSuccess) return refuse_path(scope);
  if (feature == NVME_FEAT_FID_KATO) {
    // Rounds up to a multiple of 100 ms, the granularity of KAS.
    constexpr uint32_t kUnit = kKeepAliveGranularity * 100;
    keep_alive_ms_ =
        value > ~uint32_t{0} - kUnit ? value / kUnit * kUnit : (value + kUnit - 1) / kUnit * kUnit;
    last_sign_ = request.now;
    return answer(0);
  }
  if (feature == NVME_FEAT_FID_ASYNC_EVENT) {
    if ((value & ~(supported_events() | 0xffu)) != 0) return refuse(Status::kInvalidField);
    events_enabled_ = value;
    events_pending_ &= value | kEventReservation;
    return answer(0);
  }
  if (identity_.discovery) return refuse(Status::kInvalidField);
  if (is_reservation_feature(feature)) return set_reservation_feature(request);
  if (feature == NVME_FEAT_FID_WRITE_PROTECT) return set_write_protection(request);
  switch (feature) {
    case NVME_FEAT_FID_ARBITRATION:
      arbitration_ = value;
      return answer(0);
    case NVME_FEAT_FID_POWER_MGMT:
      if ((value & 0x1f) != 0) return refuse(Status::kInvalidField);  // only power state 0 exists
      power_state_ = value;
      return answer(0);
    case NVME_FEAT_FID_TEMP_THRESH: {
      const auto which = threshold_of(value);
      if (!which.has_value()) return refuse(Status::kInvalidField);
      thresholds_[*which] = value & 0xffff;
      return answer(0);
    }
    case NVME_FEAT_FID_ERR_RECOVERY:
      if ((value & 1u << 16) != 0) return refuse(Status::kInvalidField);  // DULBE is not supported
      error_recovery_ = value & 0xffff;
      return answer(0);
    case NVME_FEAT_FID_VOLATILE_WC:
      if (!namespaces()->volatile_cache()) return refuse(Status::kInvalidField);
      write_cache_.store((value & 1) != 0, std::memory_order_relaxed);
      return answer(0);
    case NVME_FEAT_FID_NUM_QUEUES: {
      const uint32_t sq = value & 0xffff;
      const uint32_t cq = value >> 16;
      if (sq == 0xffff || cq == 0xffff) return refuse(Status::kInvalidField);
      if (has_io_queues_locked()) return refuse(Status::kCommandSequence);
      const uint32_t most = kMaxIoQueues - 1;
      return answer(std::min(sq, most) | std::min(cq, most) << 16);
    }
    case NVME_FEAT_FID_WRITE_ATOMIC:
      write_atomicity_ = value & 1;
      return answer(0);
    case NVME_FEAT_FID_HOST_ID:
      // In Fabrics the Connect command has set it permanently, [base] 5.27.1.25.
      return refuse(Status::kCommandSequence);
    default:  // interrupts too, which only memory based controllers have
      return refuse(Status::kInvalidField);
  }
}

AdminReply Controller::get_features(const AdminRequest& request) {
  const nvme::Sqe& sqe = request.sqe;
  enum : uint32_t { kCurrent = 0, kDefault = 1, kSaved = 2, kSupported = 3 };
  const uint32_t feature = sqe.cdw10 & 0xff;
  const uint32_t select = (sqe.cdw10 >> 8) & 7;
  if (select > kSupported) return refuse(Status::kInvalidField);
  constexpr uint32_t kChangeable = 1u << 2;
  const auto value = [&](uint32_t current, uint32_t by_default = 0) {
    if (select == kSupported) return answer(kChangeable);
    // No feature can be saved, so the saved value is the default.
    return answer(select == kCurrent ? current : by_default);
  };
  AdminReply reply;
  if (feature == NVME_FEAT_FID_KATO) {
    reply = value(keep_alive_ms_);
  } else if (feature == NVME_FEAT_FID_ASYNC_EVENT) {
    reply = value(events_enabled_);
  } else if (identity_.discovery) {
    return refuse(Status::kInvalidField);
  } else if (is_reservation_feature(feature)) {
    return get_reservation_feature(request);
  } else if (feature == NVME_FEAT_FID_WRITE_PROTECT) {
    return get_write_protection(request);
  } else {
    switch (feature) {
      case NVME_FEAT_FID_ARBITRATION:
        reply = value(arbitration_);
        break;
      case NVME_FEAT_FID_POWER_MGMT:
        reply = value(power_state_);
        break;
      case NVME_FEAT_FID_TEMP_THRESH: {
        const auto which = threshold_of(sqe.cdw11);
        if (!which.has_value()) return refuse(Status::kInvalidField);
        reply = value(thresholds_[*which], kThresholds[*which]);
        break;
      }
      case NVME_FEAT_FID_ERR_RECOVERY:
        reply = value(error_recovery_);
        break;
      case NVME_FEAT_FID_VOLATILE_WC:
        if (!namespaces()->volatile_cache()) return refuse(Status::kInvalidField);
        reply = value(write_cache_.load(std::memory_order_relaxed) ? 1 : 0, 1);
        break;
      case NVME_FEAT_FID_NUM_QUEUES: {
        constexpr uint32_t kMost = kMaxIoQueues - 1;
        reply = value(kMost | kMost << 16, kMost | kMost << 16);
        break;
      }
      case NVME_FEAT_FID_WRITE_ATOMIC:
        reply = value(write_atomicity_);
        break;
      case NVME_FEAT_FID_HOST_ID: {
        if (select == kSupported) return answer(0);
        // Fabrics uses the 128 bit form only.
        if ((sqe.cdw11 & 1) == 0) return refuse(Status::kHostIdInconsistent);
        const auto id = std::as_bytes(std::span(identity_.host_id));
        reply.data.assign(id.begin(), id.end());
        break;
      }
      default:
        return refuse(Status::kInvalidField);
    }
  }
  return reply;
}

}  // namespace mrpool::nvmf_target
