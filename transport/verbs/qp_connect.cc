// VerbsQp: making a connection, actively and passively, up to kConnected.
#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "transport/verbs/device.h"
#include "transport/verbs/errors.h"
#include "transport/verbs/qp.h"
#include "transport/verbs/socket_address.h"

namespace mrpool::verbs {
namespace {

constexpr int kRouteMs = 2000;

absl::Status check_options(const VerbsDevice& device, VerbsPd& pd, const QpOptions& options,
                           const ConnectParams& params, rdma_cm_event_type message) {
  if (options.send_cq == nullptr || options.recv_cq == nullptr) {
    return absl::InvalidArgumentError("QpOptions needs send_cq and recv_cq");
  }
  if (&options.send_cq->reactor() != &options.recv_cq->reactor()) {
    return absl::InvalidArgumentError("send_cq and recv_cq belong to different reactors");
  }
  const std::string& name = device.caps().name;
  if (&pd.device() != &device) {
    return absl::InvalidArgumentError(
        absl::StrCat("the Pd belongs to ", pd.caps().name, ", the connection to ", name));
  }
  const DeviceCaps& caps = device.caps();
  for (const absl::Status& status : {
           check_limit("max_qp_wr", std::max(options.max_send_wr, options.max_recv_wr),
                       caps.max_qp_wr, name),
           check_limit("max_sge", std::max(options.max_send_sge, options.max_recv_sge),
                       caps.max_sge, name),
       }) {
    if (!status.ok()) return status;
  }
  if (const size_t limit = device.max_private_data(message); params.private_data.size() > limit) {
    return absl::InvalidArgumentError(absl::StrCat(
        params.private_data.size(), " bytes of private data; ", name, " carries up to ", limit));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<VerbsQp>> VerbsQp::make(std::shared_ptr<VerbsDevice> device,
                                                       VerbsPd& pd, const QpOptions& options,
                                                       const ConnectParams& params,
                                                       QpEvents& events,
                                                       rdma_cm_event_type message) {
  if (absl::Status status = check_options(*device, pd, options, params, message); !status.ok()) {
    return status;
  }
  absl::StatusOr<std::shared_ptr<CmChannel>> channel =
      device->channel_for(options.send_cq->reactor());
  if (!channel.ok()) return channel.status();
  return std::unique_ptr<VerbsQp>(
      new VerbsQp(std::move(device), *std::move(channel), pd, options, params, events));
}

absl::StatusOr<std::unique_ptr<Qp>> VerbsQp::connect(std::shared_ptr<VerbsDevice> device,
                                                     const Address& address, VerbsPd& pd,
                                                     const QpOptions& options,
                                                     const ConnectParams& params,
                                                     QpEvents& events) {
  absl::StatusOr<sockaddr_storage> where = socket_address(address);
  if (!where.ok()) return where.status();
  absl::StatusOr<std::unique_ptr<VerbsQp>> made =
      make(device, pd, options, params, events, RDMA_CM_EVENT_CONNECT_REQUEST);
  if (!made.ok()) return made.status();
  std::unique_ptr<VerbsQp>& qp = *made;
  const std::string& name = device->caps().name;
  if (rdma_create_id(qp->channel_->get(), &qp->id_, static_cast<CmHandler*>(qp.get()),
                     RDMA_PS_TCP) != 0) {
    return errno_status(errno, "creating a connection id", name);
  }
  const auto limit = std::chrono::duration_cast<std::chrono::milliseconds>(params.timeout).count();
  if (rdma_resolve_addr(qp->id_, nullptr, reinterpret_cast<sockaddr*>(&*where),
                        int(std::clamp<int64_t>(limit, 1, INT32_MAX))) != 0) {
    return errno_status(errno, absl::StrCat("resolving ", address.to_string()), name);
  }
  qp->timer_.arm(qp->reactor_, params.timeout);
  return std::move(qp);
}

absl::StatusOr<std::unique_ptr<Qp>> VerbsQp::accept(std::shared_ptr<VerbsDevice> device,
                                                    rdma_cm_id* id, const ConnectionInfo& offer,
                                                    VerbsPd& pd, const QpOptions& options,
                                                    const ConnectParams& params, QpEvents& events) {
  absl::StatusOr<std::unique_ptr<VerbsQp>> made =
      make(device, pd, options, params, events, RDMA_CM_EVENT_CONNECT_RESPONSE);
  if (!made.ok()) return made.status();
  std::unique_ptr<VerbsQp>& qp = *made;
  qp->accepting_ = true;
  qp->ord_ = std::min(options.ord, offer.ord);
  qp->ird_ = std::min(options.ird, offer.ird);
  qp->peer_data_.assign(offer.private_data.begin(), offer.private_data.end());
  qp->info_ = offer;
  qp->info_.private_data = qp->peer_data_;
  qp->info_.ord = qp->ord_;
  qp->info_.ird = qp->ird_;
  if (id->channel != qp->channel_->get() && rdma_migrate_id(id, qp->channel_->get()) != 0) {
    return errno_status(errno, "moving a connection to its reactor", device->caps().name);
  }
  qp->id_ = id;
  if (absl::Status status = qp->create_qp(); !status.ok()) {
    qp->id_ = nullptr;  // still the caller's
    return status;
  }
  id->context = static_cast<CmHandler*>(qp.get());
  // Answered from the loop: until then receives can be posted, and the peer may send at once.
  qp->timer_.arm(qp->reactor_, Nanoseconds(0));
  return std::move(qp);
}

absl::Status VerbsQp::create_qp() {
  ibv_qp_init_attr attr{};
  attr.send_cq = send_cq_.get();
  attr.recv_cq = recv_cq_.get();
  attr.srq = srq_ != nullptr ? srq_->get() : nullptr;
  attr.qp_type = IBV_QPT_RC;
  attr.cap.max_send_wr = std::max(options_.max_send_wr, 1u);
  attr.cap.max_recv_wr = srq_ != nullptr ? 0 : std::max(options_.max_recv_wr, 1u);
  attr.cap.max_send_sge = std::max(options_.max_send_sge, 1u);
  attr.cap.max_recv_sge = srq_ != nullptr ? 0 : std::max(options_.max_recv_sge, 1u);
  if (rdma_create_qp(id_, pd_.get(), &attr) != 0) {
    if (errno == ENOMEM) {
      return absl::ResourceExhaustedError(
          absl::StrCat("no queue pair on ", device_->caps().name, " with ", options_.max_send_wr,
                       " sends and ", options_.max_recv_wr, " receives of ", options_.max_send_sge,
                       " sges; the device has max_qp = ", device_->attributes().max_qp));
    }
    return errno_status(errno, "creating a queue pair", device_->caps().name);
  }
  number_ = id_->qp->qp_num;
  send_cq_.attach(owner_, number_, *this);
  recv_cq_.attach(owner_, number_, *this);
  return absl::OkStatus();
}

rdma_conn_param VerbsQp::conn_param() {
  rdma_conn_param param{};
  param.private_data = private_data_.empty() ? nullptr : private_data_.data();
  param.private_data_len = uint8_t(private_data_.size());
  param.responder_resources = uint8_t(ird_);
  param.initiator_depth = uint8_t(ord_);
  param.flow_control = 1;
  param.retry_count = 7;
  // A peer that has no receive posted yet is waited for, as iWARP's TCP window would.
  param.rnr_retry_count = 7;
  param.srq = srq_ != nullptr;
  return param;
}

void VerbsQp::route_found() {
  ord_ = std::min(options_.ord, device_->caps().max_ord);
  ird_ = std::min(options_.ird, device_->caps().max_ird);
  if (absl::Status status = create_qp(); !status.ok()) {
    end(DisconnectReason::kReset, {status.message().data(), status.message().size()});
    return;
  }
  for (const EarlyRecv& early : early_recvs_) {
    const RecvRequest request{.completion = early.completion, .sges = early.sges};
    if (post_recv_now(request) != PostStatus::kOk) {
      end(DisconnectReason::kReset, "the device refuses a receive");
      return;
    }
  }
  early_recvs_ = {};
  rdma_conn_param param = conn_param();
  if (rdma_connect(id_, &param) != 0) {
    end(DisconnectReason::kReset, absl::StrCat("rdma_connect: ", std::strerror(errno)));
  }
}

int VerbsQp::answer_connection() {
  rdma_conn_param param = conn_param();
  return rdma_accept(id_, &param);
}

void VerbsQp::on_cm_event(const CmEvent& event) {
  if (state_ == State::kEnding || state_ == State::kEnded) return;
  switch (event.type) {
    case RDMA_CM_EVENT_ADDR_RESOLVED:
      if (id_->verbs != device_->context()) {
        end(DisconnectReason::kReset,
            absl::StrCat("the address is reached through ", ibv_get_device_name(id_->verbs->device),
                         ", this device is ", device_->caps().name));
      } else if (rdma_resolve_route(id_, kRouteMs) != 0) {
        end(DisconnectReason::kReset, absl::StrCat("no route: ", std::strerror(errno)));
      }
      break;
    case RDMA_CM_EVENT_ROUTE_RESOLVED:
      route_found();
      break;
    case RDMA_CM_EVENT_ESTABLISHED:
      if (state_ != State::kConnecting) break;  // a completion was quicker
      if (!accepting_) {
        // Both numbers speak of this side, but iWARP's answer comes with the two in each other's
        // place (siw of Linux 6.1).
        const bool iwarp = device_->caps().iwarp;
        const rdma_conn_param& param = event.param;
        const uint16_t starts = iwarp ? param.responder_resources : param.initiator_depth;
        const uint16_t serves = iwarp ? param.initiator_depth : param.responder_resources;
        ord_ = std::min(ord_, starts);
        ird_ = std::min(ird_, serves);
        info_ = {.local = to_string(rdma_get_local_addr(id_)),
                 .peer = to_string(rdma_get_peer_addr(id_)),
                 .ord = ord_,
                 .ird = ird_,
                 .private_data = event.private_data};
      }
      established(info_.private_data);
      break;
    case RDMA_CM_EVENT_REJECTED: {
      // The kernel says "rejected" too when nobody listens there.
      end(DisconnectReason::kRejected, absl::StrCat("status ", event.status));
      events_.on_rejected(*this, event.private_data);
      break;
    }
    case RDMA_CM_EVENT_ADDR_ERROR:
    case RDMA_CM_EVENT_ROUTE_ERROR:
    case RDMA_CM_EVENT_UNREACHABLE:
    case RDMA_CM_EVENT_CONNECT_ERROR:
      end(event.status == -ETIMEDOUT ? DisconnectReason::kTimeout : DisconnectReason::kReset,
          absl::StrCat(rdma_event_str(event.type), ": ", std::strerror(std::abs(event.status))));
      break;
    case RDMA_CM_EVENT_DISCONNECTED:
      // With one reason known already, by a completion, the peer's closing is only its echo.
      end(reason_ != DisconnectReason::kLocal || state_ == State::kClosing
              ? reason_
              : DisconnectReason::kPeer,
          detail_);
      break;
    case RDMA_CM_EVENT_DEVICE_REMOVAL:
      end(DisconnectReason::kReset, "the device was removed");
      break;
    default:
      break;
  }
}

void VerbsQp::established(std::span<const std::byte> private_data) {
  timer_.cancel();
  state_ = State::kConnected;
  counters_.opened.add();
  info_.private_data = private_data;
  const Alive alive(*this);
  events_.on_connected(*this, info_);
  for (size_t i = 0; !alive.gone() && i < early_wcs_.size(); ++i) {
    const ibv_wc wc = early_wcs_[i];
    on_wc(wc);
  }
  if (alive.gone()) return;
  early_wcs_ = {};
  peer_data_ = {};
  info_ = {};
}

}  // namespace mrpool::verbs
