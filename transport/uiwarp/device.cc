#include "transport/uiwarp/device.h"

#include <string_view>

#include "transport/uiwarp/check.h"
#include "transport/uiwarp/cq.h"
#include "transport/uiwarp/errors.h"
#include "transport/uiwarp/limits.h"
#include "transport/uiwarp/listener.h"
#include "transport/uiwarp/pd.h"
#include "transport/uiwarp/srq.h"

namespace mrpool::uiwarp {

namespace {

DeviceCaps make_caps() {
  DeviceCaps caps;
  caps.name = "uiwarp";
  caps.iwarp = true;
  caps.registration = Registration::kFastReg;
  caps.access = {.known = Access::kLocalWrite | Access::kRemoteWrite | Access::kRemoteRead |
                          Access::kZeroBased,
                 .honoured = Access::kDisableRelaxedOrdering,
                 .reports_optional = true};
  caps.read_sink_needs_remote_write = true;
  caps.sg_gaps = true;
  caps.send_with_inv = true;
  caps.read_with_inv = true;
  caps.srq = true;
  caps.keys_bound_to_qp = true;
  caps.max_qp_wr = kMaxQueueEntries;
  caps.max_sge = kMaxSges;
  caps.max_read_sge = 1;
  caps.max_mr = KeyTable::kMaxSlots;
  caps.max_fast_reg_segments = kMaxFastRegSegments;
  caps.max_message = kMaxMessageBytes;
  caps.max_ord = kMaxReads;
  caps.max_ird = kMaxReads;
  return caps;
}

}  // namespace

UiwarpDevice::UiwarpDevice(const DeviceOptions& options, uint64_t seed,
                           std::shared_ptr<Network> network)
    : crc_(options.crc),
      network_(std::move(network)),
      caps_(make_caps()),
      sanitizer_(options.adversarial_placement
                     ? std::make_unique<OrderingSanitizer>(seed, options.poison)
                     : nullptr),
      keys_(seed, sanitizer_.get()) {}

absl::StatusOr<std::unique_ptr<Pd>> UiwarpDevice::alloc_pd() {
  return std::make_unique<UiwarpPd>(shared_from_this(), next_id_.fetch_add(1));
}

std::shared_ptr<Context> UiwarpDevice::context(Reactor& reactor) {
  const std::lock_guard lock(mutex_);
  std::weak_ptr<Context>& slot = contexts_[&reactor];
  std::shared_ptr<Context> context = slot.lock();
  if (context == nullptr) {
    context =
        std::make_shared<Context>(std::shared_ptr<KeyTable>(shared_from_this(), &keys_), reactor);
    slot = context;
  }
  return context;
}

absl::StatusOr<std::unique_ptr<Cq>> UiwarpDevice::create_cq(Reactor& reactor,
                                                            const CqOptions& options) {
  check_thread(reactor, "Device::create_cq");
  if (options.depth == 0) return absl::InvalidArgumentError("CqOptions::depth is 0");
  return std::make_unique<UiwarpCq>(context(reactor), options);
}

absl::StatusOr<std::unique_ptr<Listener>> UiwarpDevice::listen(Reactor& reactor,
                                                               const Address& address,
                                                               ListenHandler& handler) {
  check_thread(reactor, "Device::listen");
  auto listener = std::make_unique<UiwarpListener>(shared_from_this(), context(reactor), handler);
  if (absl::Status status = listener->open(*network_, address); !status.ok()) return status;
  return listener;
}

MpaLimits UiwarpDevice::limits(const QpOptions& options) const {
  return {.crc = crc_, .ord = options.ord, .ird = options.ird, .max_ird = caps_.max_ird};
}

absl::StatusOr<std::unique_ptr<UiwarpQp>> UiwarpDevice::make_qp(
    Pd& pd, const QpOptions& options, std::span<const std::byte> private_data, QpEvents& events) {
  if (options.send_cq == nullptr || options.recv_cq == nullptr) {
    return absl::InvalidArgumentError("QpOptions needs a send_cq and a recv_cq");
  }
  auto& send_cq = static_cast<UiwarpCq&>(*options.send_cq);
  auto& recv_cq = static_cast<UiwarpCq&>(*options.recv_cq);
  if (&send_cq.context() != &recv_cq.context()) {
    return absl::InvalidArgumentError("send_cq and recv_cq belong to different reactors");
  }
  check_thread(send_cq.reactor(), "making a Qp");
  const auto& domain = static_cast<UiwarpPd&>(pd);
  auto* srq = static_cast<UiwarpSrq*>(options.srq);
  if (srq != nullptr && srq->pd() != domain.id()) {
    return absl::InvalidArgumentError("the Srq belongs to another Pd");
  }
  if (srq != nullptr && &srq->reactor() != &send_cq.reactor()) {
    return absl::InvalidArgumentError("the Srq belongs to another reactor");
  }
  struct Limit {
    std::string_view name;
    uint64_t asked;
    uint64_t limit;
  };
  for (const Limit& each :
       {Limit{"max_send_wr", options.max_send_wr, caps_.max_qp_wr},
        Limit{"max_recv_wr", options.max_recv_wr, caps_.max_qp_wr},
        Limit{"max_send_sge", options.max_send_sge, caps_.max_sge},
        Limit{"max_recv_sge", options.max_recv_sge, caps_.max_sge},
        Limit{"ord", options.ord, caps_.max_ord}, Limit{"ird", options.ird, caps_.max_ird},
        Limit{"private data", private_data.size(), kMaxMpaPrivateBytes - kMpaEnhancedBytes}}) {
    if (each.asked > each.limit) return over_limit(each.name, each.asked, each.limit);
  }
  return std::make_unique<UiwarpQp>(UiwarpQp::Params{.pd = pd,
                                                     .pd_id = domain.id(),
                                                     .qp_id = next_id_.fetch_add(1),
                                                     .keys = keys_,
                                                     .caps = caps_,
                                                     .send_cq = send_cq,
                                                     .recv_cq = recv_cq,
                                                     .srq = srq,
                                                     .sanitizer = sanitizer_.get(),
                                                     .registry = registry_,
                                                     .options = options,
                                                     .limits = limits(options),
                                                     .events = events});
}

absl::StatusOr<std::unique_ptr<Qp>> UiwarpDevice::connect(const Address& address, Pd& pd,
                                                          const QpOptions& options,
                                                          const ConnectParams& params,
                                                          QpEvents& events) {
  absl::StatusOr<std::unique_ptr<UiwarpQp>> qp = make_qp(pd, options, params.private_data, events);
  if (!qp.ok()) return qp.status();
  if (absl::Status status = (*qp)->connect(*network_, address, params); !status.ok()) {
    return status;
  }
  return std::unique_ptr<Qp>(*std::move(qp));
}

}  // namespace mrpool::uiwarp
