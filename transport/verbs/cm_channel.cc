#include "transport/verbs/cm_channel.h"

#include <array>
#include <cerrno>
#include <cstring>

namespace mrpool::verbs {

absl::StatusOr<std::shared_ptr<CmChannel>> CmChannel::create(Reactor& reactor) {
  auto self = std::make_shared<CmChannel>();
  if (rdma_event_channel* channel = rdma_create_event_channel(); channel != nullptr) {
    self->channel_ = {channel, rdma_destroy_event_channel};
  } else {
    return absl::ErrnoToStatus(
        errno,
        "no RDMA connection manager (is rdma_ucm loaded and /dev/infiniband/rdma_cm there?)");
  }
  self->watch_ = std::make_unique<FdWatch>();
  if (absl::Status status = self->watch_->start(reactor, self->channel_->fd, *self); !status.ok()) {
    return status;
  }
  return self;
}

void CmChannel::on_readable() {
  // A handler may end the last user of this channel.
  const std::shared_ptr<CmChannel> alive = shared_from_this();
  rdma_cm_event* event = nullptr;
  while (rdma_get_cm_event(get(), &event) == 0) {
    // Copied and acknowledged first: destroying or migrating an id waits for its events.
    std::array<std::byte, 256> data;
    CmEvent copy{.type = event->event,
                 .status = event->status,
                 .id = event->id,
                 .param = {},
                 .private_data = {}};
    if (event->id->qp_type != IBV_QPT_UD) {
      copy.param = event->param.conn;
      const size_t length = event->param.conn.private_data_len;
      if (length > 0 && event->param.conn.private_data != nullptr) {
        std::memcpy(data.data(), event->param.conn.private_data, length);
        copy.private_data = std::span(data).first(length);
      }
    }
    rdma_cm_id* owner = event->id;
    if (copy.type == RDMA_CM_EVENT_CONNECT_REQUEST) {
      copy.id->context = nullptr;  // it came with the listener's
      owner = event->listen_id;
    }
    // Once it is acknowledged, another thread may migrate the id, which gives it another handler,
    // or destroy it.
    auto* handler = static_cast<CmHandler*>(owner->context);
    rdma_ack_cm_event(event);

    if (handler != nullptr) {
      handler->on_cm_event(copy);
    } else if (copy.type == RDMA_CM_EVENT_CONNECT_REQUEST) {
      rdma_reject(copy.id, nullptr, 0);
      rdma_destroy_id(copy.id);
    }
  }
}

}  // namespace mrpool::verbs
