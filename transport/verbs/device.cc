#include "transport/verbs/device.h"

#include <arpa/inet.h>
#include <netdb.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "transport/verbs/cq.h"
#include "transport/verbs/errors.h"
#include "transport/verbs/listener.h"
#include "transport/verbs/pd.h"
#include "transport/verbs/qp.h"
#include "transport/verbs/verbs_device.h"

namespace mrpool::verbs {
namespace {

constexpr int kResolveMs = 2000;

// siw: its ABI means "no mapping" by the mmap offset 0x90000, yet its kernel module hands that out
// like any other, so the queue that happens to get it cannot be created. Offsets are given lowest
// first; one completion queue from 0 to beyond it keeps everything else away.
constexpr uint32_t kSiwVendor = 0x626d74;
constexpr int kSiwPlugEntries = 0x90000 / 32 + 1;  // of 32 bytes; a megabyte once siw rounds up

struct ChannelCloser {
  void operator()(rdma_event_channel* channel) const { rdma_destroy_event_channel(channel); }
};
struct IdCloser {
  void operator()(rdma_cm_id* id) const { rdma_destroy_id(id); }
};

}  // namespace

absl::StatusOr<sockaddr_storage> socket_address(const Address& address) {
  if (address.host.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "verbs needs the address of an RDMA device's interface, \"", address.to_string(),
        "\" has none; write verbs://10.0.0.1:4420 (`rdma link` and `ip addr` show them)"));
  }
  if (!address.options.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("verbs has no options, \"", address.options, "\" was given"));
  }
  addrinfo hints{};
  hints.ai_flags = AI_NUMERICSERV;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const std::string port = absl::StrCat(address.port);
  if (const int error = getaddrinfo(address.host.c_str(), port.c_str(), &hints, &found);
      error != 0) {
    return absl::NotFoundError(absl::StrCat(address.host, ": ", gai_strerror(error)));
  }
  sockaddr_storage result{};
  std::memcpy(&result, found->ai_addr, found->ai_addrlen);
  freeaddrinfo(found);
  return result;
}

std::string to_string(const sockaddr* address) {
  char text[INET6_ADDRSTRLEN] = "?";
  if (address->sa_family == AF_INET) {
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(address);
    inet_ntop(AF_INET, &v4->sin_addr, text, sizeof text);
    return absl::StrCat(text, ":", ntohs(v4->sin_port));
  }
  const auto* v6 = reinterpret_cast<const sockaddr_in6*>(address);
  inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof text);
  return absl::StrCat("[", text, "]:", ntohs(v6->sin6_port));
}

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

absl::StatusOr<std::shared_ptr<VerbsDevice>> VerbsDevice::create(rdma_cm_id* id) {
  auto device = std::make_shared<VerbsDevice>(id);
  if (absl::Status status = device->query(); !status.ok()) return status;
  return device;
}

VerbsDevice::~VerbsDevice() {
  if (plug_ != nullptr) ibv_destroy_cq(plug_);
  rdma_destroy_id(id_);
}

absl::Status VerbsDevice::query() {
  caps_.name = ibv_get_device_name(context()->device);
  if (const int error = ibv_query_device(context(), &attributes_); error != 0) {
    return errno_status(error, "asking for the limits", caps_.name);
  }
  if (attributes_.vendor_id == kSiwVendor) {
    plug_ = ibv_create_cq(context(), kSiwPlugEntries, nullptr, nullptr, 0);
    if (plug_ == nullptr) return errno_status(errno, "keeping an mmap offset free", caps_.name);
  }
  const uint8_t number = id_->port_num != 0 ? id_->port_num : 1;
  ibv_port_attr port{};
  if (const int error = ibv_query_port(context(), number, &port); error != 0) {
    return errno_status(error, "asking for the port's limits", caps_.name);
  }
  const ibv_device_attr& attr = attributes_;
  const auto flags = uint64_t(attr.device_cap_flags);
  const bool windows =
      attr.max_mw > 0 && (flags & (IBV_DEVICE_MEM_WINDOW_TYPE_2A | IBV_DEVICE_MEM_WINDOW_TYPE_2B));
  caps_.iwarp = context()->device->transport_type == IBV_TRANSPORT_IWARP;
  caps_.registration = windows ? Registration::kMemoryWindow : Registration::kPreRegistered;
  caps_.read_sink_needs_remote_write = caps_.iwarp;
  caps_.send_with_inv = flags & IBV_DEVICE_MEM_MGT_EXTENSIONS;
  caps_.srq = attr.max_srq > 0;
  caps_.keys_bound_to_qp = windows;

  caps_.access.known = Access::kLocalWrite | Access::kRemoteWrite | Access::kRemoteRead;
  if (attr.atomic_cap != IBV_ATOMIC_NONE) caps_.access.known |= Access::kRemoteAtomic;
  if (attr.max_mw > 0) caps_.access.known |= Access::kMwBind;
  ibv_device_attr_ex extended{};
  if (ibv_query_device_ex(context(), nullptr, &extended) == 0 &&
      (extended.odp_caps.general_caps & IBV_ODP_SUPPORT)) {
    caps_.access.known |= Access::kOnDemand;
  }
  // Strict ordering is what every provider gives when it is not asked to relax it. What becomes of
  // the other optional flags libibverbs does not say: it masks them on kernels that lack them.
  caps_.access.honoured = Access::kDisableRelaxedOrdering;
  caps_.access.reports_optional = false;

  caps_.max_qp_wr = uint32_t(attr.max_qp_wr);
  caps_.max_sge = uint32_t(attr.max_sge);
  caps_.max_read_sge = uint32_t(attr.max_sge_rd > 0 ? std::min(attr.max_sge_rd, attr.max_sge) : 1);
  caps_.max_mr = uint32_t(attr.max_mr);
  caps_.max_fast_reg_segments = 1;
  caps_.max_message = port.max_msg_sz;
  caps_.max_ord = uint16_t(std::clamp(attr.max_qp_init_rd_atom, 0, 255));
  caps_.max_ird = uint16_t(std::clamp(attr.max_qp_rd_atom, 0, 255));
  return absl::OkStatus();
}

size_t VerbsDevice::max_private_data(rdma_cm_event_type message) const {
  // iWARP: what the interface's length field can say. InfiniBand and RoCE: what the connection
  // manager's datagrams leave behind its own header.
  if (caps_.iwarp) return 255;
  switch (message) {
    case RDMA_CM_EVENT_CONNECT_REQUEST:
      return 56;
    case RDMA_CM_EVENT_REJECTED:
      return 148;
    default:
      return 196;
  }
}

absl::StatusOr<std::shared_ptr<CmChannel>> VerbsDevice::channel_for(Reactor& reactor) {
  const std::lock_guard lock(mutex_);
  std::weak_ptr<CmChannel>& known = channels_[&reactor];
  if (std::shared_ptr<CmChannel> channel = known.lock(); channel != nullptr) return channel;
  absl::StatusOr<std::shared_ptr<CmChannel>> channel = CmChannel::create(reactor);
  if (channel.ok()) known = *channel;
  return channel;
}

absl::StatusOr<std::unique_ptr<Pd>> VerbsDevice::alloc_pd() {
  absl::StatusOr<std::unique_ptr<VerbsPd>> pd = VerbsPd::create(shared_from_this());
  if (!pd.ok()) return pd.status();
  return std::unique_ptr<Pd>(*std::move(pd));
}

absl::StatusOr<std::unique_ptr<Cq>> VerbsDevice::create_cq(Reactor& reactor,
                                                           const CqOptions& options) {
  absl::StatusOr<std::unique_ptr<VerbsCq>> cq =
      VerbsCq::create(shared_from_this(), reactor, options);
  if (!cq.ok()) return cq.status();
  return std::unique_ptr<Cq>(*std::move(cq));
}

absl::StatusOr<std::unique_ptr<Listener>> VerbsDevice::listen(Reactor& reactor,
                                                              const Address& address,
                                                              ListenHandler& handler) {
  return VerbsListener::create(shared_from_this(), reactor, address, handler);
}

absl::StatusOr<std::unique_ptr<Qp>> VerbsDevice::connect(const Address& address, Pd& pd,
                                                         const QpOptions& options,
                                                         const ConnectParams& params,
                                                         QpEvents& events) {
  return VerbsQp::connect(shared_from_this(), address, static_cast<VerbsPd&>(pd), options, params,
                          events);
}

}  // namespace mrpool::verbs
