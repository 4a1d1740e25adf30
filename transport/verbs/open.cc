#include "transport/verbs/open.h"

#include <rdma/rdma_cma.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "transport/verbs/device.h"
#include "transport/verbs/socket_address.h"

namespace mrpool::verbs {
namespace {

constexpr int kResolveMs = 2000;

struct ChannelCloser {
  void operator()(rdma_event_channel* channel) const { rdma_destroy_event_channel(channel); }
};
struct IdCloser {
  void operator()(rdma_cm_id* id) const { rdma_destroy_id(id); }
};

}  // namespace

absl::StatusOr<std::shared_ptr<Device>> open_device(const Address& address) {
  absl::StatusOr<sockaddr_storage> where = socket_address(address);
  if (!where.ok()) return where.status();
  // The port chooses nothing here, and another program may be listening on it.
  reinterpret_cast<sockaddr_in*>(&*where)->sin_port = 0;
  auto* to = reinterpret_cast<sockaddr*>(&*where);

  std::unique_ptr<rdma_event_channel, ChannelCloser> channel(rdma_create_event_channel());
  if (channel == nullptr) {
    return absl::UnavailableError(
        absl::StrCat("no RDMA connection manager: ", std::strerror(errno),
                     " (is the rdma_ucm module loaded and /dev/infiniband/rdma_cm readable?)"));
  }
  const auto new_id = [&] {
    rdma_cm_id* id = nullptr;
    if (rdma_create_id(channel.get(), &id, nullptr, RDMA_PS_TCP) != 0) id = nullptr;
    return std::unique_ptr<rdma_cm_id, IdCloser>(id);
  };
  // One of our own interfaces ...
  std::unique_ptr<rdma_cm_id, IdCloser> id = new_id();
  if (id == nullptr) return absl::ErrnoToStatus(errno, "cannot create an RDMA connection id");
  if (rdma_bind_addr(id.get(), to) != 0 || id->verbs == nullptr) {
    // ... or a peer, and the interface it is reached through.
    id = new_id();
    rdma_cm_event* event = nullptr;
    bool resolved = false;
    if (id != nullptr && rdma_resolve_addr(id.get(), nullptr, to, kResolveMs) == 0 &&
        rdma_get_cm_event(channel.get(), &event) == 0) {
      resolved = event->event == RDMA_CM_EVENT_ADDR_RESOLVED && id->verbs != nullptr;
      rdma_ack_cm_event(event);
    }
    if (!resolved) {
      return absl::NotFoundError(
          absl::StrCat(address.host,
                       " is neither an RDMA device's address nor reached through "
                       "one (`rdma link` and `ip addr` show them)"));
    }
  }
  // The id moves to a channel of its own making: it only keeps the context open from here on.
  if (rdma_migrate_id(id.get(), nullptr) != 0) {
    return absl::ErrnoToStatus(errno, "cannot keep an RDMA device open");
  }
  absl::StatusOr<std::shared_ptr<VerbsDevice>> device = VerbsDevice::create(id.release());
  if (!device.ok()) return device.status();
  return std::shared_ptr<Device>(*std::move(device));
}

}  // namespace mrpool::verbs
