#include "transport/verbs/listener.h"

#include <algorithm>
#include <cerrno>

#include "absl/strings/str_cat.h"
#include "transport/checks/limits.h"
#include "transport/verbs/device.h"
#include "transport/verbs/errors.h"
#include "transport/verbs/pd.h"
#include "transport/verbs/qp.h"
#include "transport/verbs/socket_address.h"

namespace mrpool::verbs {
namespace {

// Requests that the kernel keeps while the listener's loop is busy.
constexpr int kBacklog = 512;

}  // namespace

absl::StatusOr<std::unique_ptr<Listener>> VerbsListener::create(std::shared_ptr<VerbsDevice> device,
                                                                Reactor& reactor,
                                                                const Address& address,
                                                                ListenHandler& handler) {
  absl::StatusOr<sockaddr_storage> where = socket_address(address);
  if (!where.ok()) return where.status();
  absl::StatusOr<std::shared_ptr<CmChannel>> channel = device->channel_for(reactor);
  if (!channel.ok()) return channel.status();
  auto listener = std::make_unique<VerbsListener>(device, *channel, handler);
  if (rdma_create_id((*channel)->get(), &listener->id_, static_cast<CmHandler*>(listener.get()),
                     RDMA_PS_TCP) != 0) {
    return errno_status(errno, "creating a connection id", device->caps().name);
  }
  if (rdma_bind_addr(listener->id_, reinterpret_cast<sockaddr*>(&*where)) != 0) {
    return errno_status(errno, absl::StrCat("binding ", address.to_string()), device->caps().name);
  }
  if (listener->id_->verbs != nullptr && listener->id_->verbs != device->context()) {
    return absl::InvalidArgumentError(absl::StrCat(
        address.host, " belongs to ", ibv_get_device_name(listener->id_->verbs->device),
        ", not to ", device->caps().name, ": open the device with the address it listens on"));
  }
  if (rdma_listen(listener->id_, kBacklog) != 0) {
    return errno_status(errno, absl::StrCat("listening on ", address.to_string()),
                        device->caps().name);
  }
  return listener;
}

VerbsListener::VerbsListener(std::shared_ptr<VerbsDevice> device,
                             std::shared_ptr<CmChannel> channel, ListenHandler& handler)
    : device_(std::move(device)), channel_(std::move(channel)), handler_(handler) {}

VerbsListener::~VerbsListener() {
  if (id_ != nullptr) rdma_destroy_id(id_);
}

uint16_t VerbsListener::port() const { return ntohs(rdma_get_src_port(id_)); }

void VerbsListener::on_cm_event(const CmEvent& event) {
  if (event.type == RDMA_CM_EVENT_DEVICE_REMOVAL) {
    handler_.on_listen_error(
        absl::UnavailableError(absl::StrCat(device_->caps().name, " was removed")));
    return;  // it may have destroyed this
  }
  if (event.type != RDMA_CM_EVENT_CONNECT_REQUEST) return;
  auto request = std::make_unique<VerbsConnectRequest>(device_, channel_->share(), event);
  // A listener on a wildcard address gets requests of every device, but regions belong to one.
  if (event.id->verbs != device_->context()) return;
  handler_.on_connect_request(std::move(request));
}

VerbsConnectRequest::VerbsConnectRequest(std::shared_ptr<VerbsDevice> device,
                                         std::shared_ptr<rdma_event_channel> channel,
                                         const CmEvent& event)
    : device_(std::move(device)),
      channel_(std::move(channel)),
      id_(event.id),
      private_data_(event.private_data.begin(), event.private_data.end()) {
  info_.local = to_string(rdma_get_local_addr(id_));
  info_.peer = to_string(rdma_get_peer_addr(id_));
  // The event already speaks from this side's point of view.
  info_.ord = std::min<uint16_t>(event.param.initiator_depth, device_->caps().max_ord);
  info_.ird = std::min<uint16_t>(event.param.responder_resources, device_->caps().max_ird);
  info_.private_data = private_data_;
}

VerbsConnectRequest::~VerbsConnectRequest() { reject({}).IgnoreError(); }

absl::StatusOr<std::unique_ptr<Qp>> VerbsConnectRequest::accept(Pd& pd, const QpOptions& options,
                                                                const ConnectParams& params,
                                                                QpEvents& events) {
  if (id_ == nullptr) {
    return absl::FailedPreconditionError("this connection request has been answered already");
  }
  absl::StatusOr<std::unique_ptr<Qp>> qp =
      VerbsQp::accept(device_, id_, channel_, info_, pd, options, params, events);
  if (qp.ok()) id_ = nullptr;
  return qp;
}

absl::Status VerbsConnectRequest::reject(std::span<const std::byte> private_data) {
  if (id_ == nullptr) {
    return absl::FailedPreconditionError("this connection request has been answered already");
  }
  const DeviceCaps& caps = device_->caps();
  if (absl::Status status = checks::check_private_data("reject", private_data.size(),
                                                       caps.max_private_data.reject, caps.name);
      !status.ok()) {
    return status;
  }
  device_->registry().count(&TransportStatistics::connections_rejected);
  rdma_reject(id_, private_data.data(), uint8_t(private_data.size()));
  rdma_destroy_id(id_);
  id_ = nullptr;
  return absl::OkStatus();
}

}  // namespace mrpool::verbs
