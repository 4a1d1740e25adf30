// Features of namespaces, [base] 5.27.1.26 to 5.27.1.29: notices and persistence of reservations,
// write protection; and the log of notices.
#include <memory>
#include <utility>
#include <vector>

#include "examples/nvmf/target/controller.h"
#include "examples/nvmf/target/pages.h"

namespace mrpool::nvmf_target {

using nvme::Status;

void Controller::reservation_changed(uint32_t nsid, reservation::Event event) {
  bool wake = false;
  QueueRef admin;
  {
    const std::lock_guard lock(mutex_);
    if (namespaces()->find(nsid) == nullptr) return;
    if (!reservation_notices_.add(nsid, event)) return;
    raise_locked(AsyncEvent::kReservation, wake);
    admin = admin_queue_locked();
  }
  if (wake) host_.events_ready(admin);
}

Status Controller::reservation_log(const AdminRequest&, std::vector<std::byte>& page) {
  page = to_bytes(reservation_notices_.front());
  return Status::kSuccess;
}

// Both are a namespace's, or all namespaces'.
AdminReply Controller::set_reservation_feature(const AdminRequest& request) {
  const nvme::Sqe& sqe = request.sqe;
  const uint32_t nsid = sqe.nsid;
  const uint32_t value = sqe.cdw11;
  const bool mask = (sqe.cdw10 & 0xff) == NVME_FEAT_FID_RESV_MASK;
  if ((value & ~(mask ? ReservationNotices::kMaskBits : 1u)) != 0) {
    return refuse(Status::kInvalidField);
  }
  const auto table = namespaces();
  if (const Status path = access_to(*table, nsid); !ok(path)) return refuse_path(path);
  std::vector<std::shared_ptr<Reservations>> all;
  for (const Namespace& ns : table->namespaces) {
    if (nsid != ns.nsid && nsid != nvme::kBroadcastNsid) continue;
    all.push_back(ns.reservations);
    if (mask) reservation_notices_.set_mask(ns.nsid, value);
  }
  if (all.empty() && nsid != nvme::kBroadcastNsid) return refuse(Status::kInvalidNamespace);
  if (mask) return answer(0);
  AdminReply reply;
  reply.kind = AdminReply::Kind::kAside;
  reply.job = [all = std::move(all), persistent = value != 0] {
    for (const auto& each : all) {
      if (persistent && !each->can_persist()) return nvme::with_dnr(Status::kInvalidField);
    }
    for (const auto& each : all) {
      if (const Status status = each->set_persistent(persistent); !ok(status)) return status;
    }
    return Status::kSuccess;
  };
  return reply;
}

AdminReply Controller::get_reservation_feature(const AdminRequest& request) const {
  const nvme::Sqe& sqe = request.sqe;
  enum : uint32_t { kCurrent = 0, kSupported = 3 };
  const uint32_t select = (uint32_t(sqe.cdw10) >> 8) & 7;
  constexpr uint32_t kChangeable = 1u << 2;
  constexpr uint32_t kOfNamespace = 1u << 1;
  if (select == kSupported) return answer(kChangeable | kOfNamespace);
  const auto table = namespaces();
  const Namespace* const ns = table->find(sqe.nsid);
  if (ns == nullptr) return refuse(Status::kInvalidNamespace);
  if (const Status path = access_to(*table, sqe.nsid); !ok(path)) return refuse_path(path);
  if (select != kCurrent) return answer(0);
  if ((sqe.cdw10 & 0xff) == NVME_FEAT_FID_RESV_MASK) {
    return answer(reservation_notices_.mask(ns->nsid));
  }
  return answer(ns->reservations->persistent() ? 1 : 0);
}

AdminReply Controller::set_write_protection(const AdminRequest& request) const {
  const nvme::Sqe& sqe = request.sqe;
  const auto table = namespaces();
  const Namespace* const ns = table->find(sqe.nsid);
  if (ns == nullptr) return refuse(Status::kInvalidNamespace);
  if (const Status path = access_to(*table, sqe.nsid); !ok(path)) return refuse_path(path);
  const uint32_t state = sqe.cdw11;
  if (!ns->protection->offered() || state > NVME_FEAT_NS_WRITE_PROTECT) {
    return refuse(Status::kInvalidField);
  }
  AdminReply reply = answer(state);
  reply.kind = AdminReply::Kind::kProtect;
  reply.nsid = ns->nsid;
  return reply;
}

AdminReply Controller::get_write_protection(const AdminRequest& request) const {
  const nvme::Sqe& sqe = request.sqe;
  enum : uint32_t { kCurrent = 0, kDefault = 1, kSaved = 2, kSupported = 3 };
  const uint32_t select = (uint32_t(sqe.cdw10) >> 8) & 7;
  constexpr uint32_t kChangeable = 1u << 2;
  constexpr uint32_t kOfNamespace = 1u << 1;
  const auto table = namespaces();
  const Namespace* const ns = table->find(sqe.nsid);
  if (ns == nullptr) return refuse(Status::kInvalidNamespace);
  if (const Status path = access_to(*table, sqe.nsid); !ok(path)) return refuse_path(path);
  if (!ns->protection->offered()) return refuse(Status::kInvalidField);
  if (select == kSupported) return answer(kChangeable | kOfNamespace);
  return answer(select == kDefault || !ns->protection->on() ? NVME_FEAT_NS_NO_WRITE_PROTECT
                                                            : NVME_FEAT_NS_WRITE_PROTECT);
}

}  // namespace mrpool::nvmf_target
