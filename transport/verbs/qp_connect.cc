// VerbsQp: making a connection, actively and passively, up to kConnected.
#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "transport/checks/limits.h"
#include "transport/verbs/device.h"
#include "transport/verbs/errors.h"
#include "transport/verbs/qp.h"
#include "transport/verbs/siw.h"
#include "transport/verbs/socket_address.h"

namespace mrpool::verbs {
namespace {

constexpr int kRouteMs = 2000;
// InfiniBand's and RoCE's reason for a rejection by the other side's kernel: "invalid service id".
constexpr int kNobodyListens = 8;

// Why a connection could not be made.
DisconnectReason reason_of(int error) {
  if (error == ETIMEDOUT) return DisconnectReason::kTimeout;
  if (error == ECONNREFUSED) return DisconnectReason::kRefused;
  if (error == ECONNRESET) return DisconnectReason::kReset;
  return DisconnectReason::kUnreachable;
}

// All that a Qp is made of belongs to this device and to one reactor.
absl::Status check_parts(const VerbsDevice& device, const Pd& pd, const QpOptions& options) {
  const auto* domain = dynamic_cast<const VerbsPd*>(&pd);
  if (domain == nullptr || &domain->device() != &device) {
    return absl::InvalidArgumentError("the Pd belongs to another Device");
  }
  if (options.send_cq == nullptr || options.recv_cq == nullptr) {
    return absl::InvalidArgumentError("QpOptions needs a send_cq and a recv_cq");
  }
  const auto* send_cq = dynamic_cast<const VerbsCq*>(options.send_cq);
  const auto* recv_cq = dynamic_cast<const VerbsCq*>(options.recv_cq);
  if (send_cq == nullptr || &send_cq->device() != &device) {
    return absl::InvalidArgumentError("the send_cq belongs to another Device");
  }
  if (recv_cq == nullptr || &recv_cq->device() != &device) {
    return absl::InvalidArgumentError("the recv_cq belongs to another Device");
  }
  if (&options.send_cq->reactor() != &options.recv_cq->reactor()) {
    return absl::InvalidArgumentError("send_cq and recv_cq belong to different reactors");
  }
  if (options.srq == nullptr) return absl::OkStatus();
  const auto* srq = dynamic_cast<const VerbsSrq*>(options.srq);
  if (srq == nullptr || &srq->pd() != domain) {
    return absl::InvalidArgumentError("the Srq belongs to another Pd");
  }
  if (&srq->reactor() != &options.send_cq->reactor()) {
    return absl::InvalidArgumentError("the Srq belongs to another reactor");
  }
  return absl::OkStatus();
}

absl::Status check_options(const VerbsDevice& device, const QpOptions& options,
                           const checks::CqShares& shares, const ConnectParams& params,
                           rdma_cm_event_type message) {
  const bool connect = message == RDMA_CM_EVENT_CONNECT_REQUEST;
  const DeviceCaps::PrivateData& room = device.caps().max_private_data;
  for (const absl::Status& status :
       {checks::check_qp_options(device.caps(), options),
        checks::check_private_data(connect ? "connect" : "accept", params.private_data.size(),
                                   connect ? room.connect : room.accept, device.caps().name),
        shares.fit(static_cast<VerbsCq*>(options.send_cq)->room(),
                   static_cast<VerbsCq*>(options.recv_cq)->room())}) {
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<VerbsQp>> VerbsQp::make(std::shared_ptr<VerbsDevice> device, Pd& pd,
                                                       const QpOptions& options,
                                                       const ConnectParams& params,
                                                       QpEvents& events,
                                                       rdma_cm_event_type message) {
  if (absl::Status status = check_parts(*device, pd, options); !status.ok()) return status;
  const auto* srq = static_cast<const VerbsSrq*>(options.srq);
  const checks::CqShares shares(options, srq != nullptr ? srq->capacity() : 0);
  if (absl::Status status = check_options(*device, options, shares, params, message);
      !status.ok()) {
    return status;
  }
  absl::StatusOr<std::shared_ptr<CmChannel>> channel =
      device->channel_for(options.send_cq->reactor());
  if (!channel.ok()) return channel.status();
  return std::unique_ptr<VerbsQp>(new VerbsQp(std::move(device), *std::move(channel),
                                              static_cast<VerbsPd&>(pd), options, shares, params,
                                              events));
}

absl::StatusOr<std::unique_ptr<Qp>> VerbsQp::connect(std::shared_ptr<VerbsDevice> device,
                                                     const Address& address, Pd& pd,
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
                                                    rdma_cm_id* id,
                                                    std::shared_ptr<rdma_event_channel>& channel,
                                                    const ConnectionInfo& offer, Pd& pd,
                                                    const QpOptions& options,
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
  channel = qp->channel_->share();
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
  attr.cap.max_send_sge = std::max(options_.max_send_sge, device_->siw() ? siw::kMinSendSges : 1u);
  attr.cap.max_recv_sge = srq_ != nullptr ? 0 : std::max(options_.max_recv_sge, 1u);
  // siw sends small payloads in a way of its own, see siw.h.
  const uint32_t wanted_inline = device_->siw() ? 0 : options_.max_inline;
  attr.cap.max_inline_data = wanted_inline;
  // A hint: a device that cannot do so much is asked without.
  const ibv_qp_init_attr plain = attr;
  int failed = rdma_create_qp(id_, pd_.get(), &attr);
  if (failed != 0 && wanted_inline > 0) {
    attr = plain;
    attr.cap.max_inline_data = 0;
    failed = rdma_create_qp(id_, pd_.get(), &attr);
  }
  if (failed == 0) max_inline_ = std::min(wanted_inline, attr.cap.max_inline_data);
  if (failed != 0) {
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
    end(reason_of(errno), absl::StrCat("rdma_connect: ", std::strerror(errno)));
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
        end(DisconnectReason::kUnreachable,
            absl::StrCat("the address is reached through ", ibv_get_device_name(id_->verbs->device),
                         ", this device is ", device_->caps().name));
      } else if (rdma_resolve_route(id_, kRouteMs) != 0) {
        end(DisconnectReason::kUnreachable, absl::StrCat("no route: ", std::strerror(errno)));
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
    case RDMA_CM_EVENT_REJECTED:
      if (event.status == kNobodyListens) {
        end(DisconnectReason::kRefused, "nobody listens there");
        break;
      }
      end(DisconnectReason::kRejected, absl::StrCat("status ", event.status));
      events_.on_rejected(*this, event.private_data);
      break;
    case RDMA_CM_EVENT_ADDR_ERROR:
    case RDMA_CM_EVENT_ROUTE_ERROR:
    case RDMA_CM_EVENT_UNREACHABLE:
    case RDMA_CM_EVENT_CONNECT_ERROR:
      end(reason_of(std::abs(event.status)),
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
      end(DisconnectReason::kFault, "the device was removed");
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
  const Alive alive(gone_);
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
