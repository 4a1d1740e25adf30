#include "transport/verbs/device.h"

#include <algorithm>
#include <cerrno>

#include "transport/verbs/cq.h"
#include "transport/verbs/errors.h"
#include "transport/verbs/listener.h"
#include "transport/verbs/pd.h"
#include "transport/verbs/qp.h"

namespace mrpool::verbs {
namespace {

// siw: its ABI means "no mapping" by the mmap offset 0x90000, yet its kernel module hands that out
// like any other, so the queue that happens to get it cannot be created. Offsets are given lowest
// first; one completion queue from 0 to beyond it keeps everything else away.
constexpr int kSiwPlugEntries = 0x90000 / 32 + 1;  // of 32 bytes; a megabyte once siw rounds up

}  // namespace

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
  if (siw()) {
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
  if (attr.atomic_cap == IBV_ATOMIC_HCA) caps_.atomics = AtomicScope::kDevice;
  if (attr.atomic_cap == IBV_ATOMIC_GLOB) caps_.atomics = AtomicScope::kMachine;
  // Part of InfiniBand and RoCE; libibverbs has no flag for it on iWARP devices.
  caps_.immediate_data = !caps_.iwarp;
  // Only a hint for how the device maps pages; it goes to the kernel, which refuses it where it
  // does not know it.
  caps_.access.known |= Access::kHugePages;
  if (attr.max_mw > 0) caps_.access.known |= Access::kMwBind;
  ibv_device_attr_ex extended{};
  if (ibv_query_device_ex(context(), nullptr, &extended) == 0 &&
      (extended.odp_caps.general_caps & IBV_ODP_SUPPORT)) {
    caps_.access.known |= Access::kOnDemand;
  }
  // Strict ordering is what every provider gives when it is not asked to relax it. libibverbs does
  // not report the other optional flags: it masks them on kernels that lack them.
  caps_.access.honoured = Access::kDisableRelaxedOrdering;
  caps_.access.reports_optional = false;

  caps_.max_qp_wr = uint32_t(attr.max_qp_wr);
  caps_.max_cqe = uint32_t(attr.max_cqe);
  caps_.max_sge = uint32_t(attr.max_sge);
  caps_.max_read_sge = uint32_t(attr.max_sge_rd > 0 ? std::min(attr.max_sge_rd, attr.max_sge) : 1);
  caps_.max_mr = uint32_t(attr.max_mr);
  caps_.max_fast_reg_segments = 1;
  caps_.max_message = port.max_msg_sz;
  caps_.max_ord = uint16_t(std::clamp(attr.max_qp_init_rd_atom, 0, 255));
  caps_.max_ird = uint16_t(std::clamp(attr.max_qp_rd_atom, 0, 255));
  // iWARP: the most that the interface's length field can hold, less the 4 bytes of RFC 6581.
  // InfiniBand and
  // RoCE: what the connection manager's datagrams leave after its own header.
  caps_.max_private_data = {.connect = 56, .accept = 196, .reject = 148};
  if (caps_.iwarp) caps_.max_private_data = {.connect = 251, .accept = 251, .reject = 251};
  return absl::OkStatus();
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
  check_thread(reactor, "Device::listen");
  return VerbsListener::create(shared_from_this(), reactor, address, handler);
}

absl::StatusOr<std::unique_ptr<Qp>> VerbsDevice::connect(const Address& address, Pd& pd,
                                                         const QpOptions& options,
                                                         const ConnectParams& params,
                                                         QpEvents& events) {
  return VerbsQp::connect(shared_from_this(), address, pd, options, params, events);
}

}  // namespace mrpool::verbs
