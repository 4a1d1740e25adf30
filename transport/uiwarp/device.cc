#include "transport/uiwarp/device.h"

#include <algorithm>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "transport/checks/limits.h"
#include "transport/uiwarp/check.h"
#include "transport/uiwarp/cq.h"
#include "transport/uiwarp/limits.h"
#include "transport/uiwarp/listener.h"
#include "transport/uiwarp/pd.h"
#include "transport/uiwarp/socket.h"
#include "transport/uiwarp/srq.h"

namespace mrpool::uiwarp {

namespace {

DeviceCaps make_caps(const DeviceOptions& options) {
  DeviceCaps caps;
  caps.name = "uiwarp";
  caps.iwarp = true;
  caps.registration = Registration::kFastReg;
  caps.access = {.known = Access::kLocalWrite | Access::kRemoteWrite | Access::kRemoteRead |
                          Access::kZeroBased | Access::kHugePages,
                 .honoured = Access::kDisableRelaxedOrdering,
                 .reports_optional = true};
  caps.read_sink_needs_remote_write = true;
  caps.sg_gaps = true;
  caps.send_with_inv = true;
  caps.read_with_inv = true;
  caps.srq = true;
  caps.moves_qps = true;
  if (options.extensions) {
    caps.immediate_data = true;
    caps.atomics = AtomicScope::kMachine;
    caps.access.known |= Access::kRemoteAtomic;
  }
  caps.keys_bound_to_qp = true;
  caps.max_qp_wr = kMaxQueueEntries;
  caps.max_cqe = kMaxCqEntries;
  caps.max_sge = kMaxSges;
  caps.max_read_sge = 1;
  caps.max_mr = KeyTable::kMaxSlots;
  caps.max_fast_reg_segments = kMaxFastRegSegments;
  caps.max_integrity_blocks = kMaxIntegrityBlocks;
  caps.max_message = kMaxMessageBytes;
  caps.max_ord = kMaxReads;
  caps.max_ird = kMaxReads;
  caps.max_private_data = {
      .connect = kMaxPrivateData, .accept = kMaxPrivateData, .reject = kMaxPrivateData};
  return caps;
}

}  // namespace

UiwarpDevice::UiwarpDevice(const DeviceOptions& options, uint64_t seed,
                           std::shared_ptr<Network> network)
    : options_(options),
      network_(std::move(network)),
      caps_(make_caps(options)),
      sanitizer_(options.adversarial_placement
                     ? std::make_unique<OrderingSanitizer>(seed, options.poison)
                     : nullptr),
      keys_(options.seed, sanitizer_.get()) {}

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
  if (options.depth > caps_.max_cqe) {
    return checks::over_limit("CqOptions::depth", options.depth, caps_.max_cqe, caps_.name);
  }
  return std::make_unique<UiwarpCq>(context(reactor), options);
}

// Options are the device's: one that asks for what is not in force here would do nothing.
absl::Status UiwarpDevice::check_address(const Address& address) const {
  if (absl::Status status = checks::check_transport(address, "uiwarp"); !status.ok()) return status;
  const absl::StatusOr<DeviceOptions> all = parse_options(address.options, options_);
  if (!all.ok()) return all.status();
  if (*all == options_) return absl::OkStatus();
  for (const absl::string_view option : absl::StrSplit(address.options, '&', absl::SkipEmpty())) {
    const absl::StatusOr<DeviceOptions> asked =
        parse_options({option.data(), option.size()}, options_);
    if (asked.ok() && *asked == options_) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("address '", address.to_string(), "': the option ", option,
                     " is not in force on this device: give it to Device::open"));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Listener>> UiwarpDevice::listen(Reactor& reactor,
                                                               const Address& address,
                                                               ListenHandler& handler) {
  check_thread(reactor, "Device::listen");
  Address rest = address;
  if (const auto passed = take_listening_socket(rest); !passed.ok()) return passed.status();
  if (absl::Status status = check_address(rest); !status.ok()) return status;
  auto listener = std::make_unique<UiwarpListener>(shared_from_this(), context(reactor), handler);
  if (absl::Status status = listener->open(*network_, address); !status.ok()) return status;
  return listener;
}

MpaLimits UiwarpDevice::limits(const QpOptions& options) const {
  return {.crc = options_.crc,
          .ord = std::min(options.ord, caps_.max_ord),
          .ird = std::min(options.ird, caps_.max_ird),
          .extensions = options_.extensions,
          .max_ird = caps_.max_ird};
}

absl::Status UiwarpDevice::check_parts(const Pd& pd, const QpOptions& options) const {
  const auto* domain = dynamic_cast<const UiwarpPd*>(&pd);
  if (domain == nullptr || &domain->device() != this) {
    return absl::InvalidArgumentError("the Pd belongs to another Device");
  }
  if (options.send_cq == nullptr || options.recv_cq == nullptr) {
    return absl::InvalidArgumentError("QpOptions needs a send_cq and a recv_cq");
  }
  auto* send_cq = dynamic_cast<UiwarpCq*>(options.send_cq);
  auto* recv_cq = dynamic_cast<UiwarpCq*>(options.recv_cq);
  if (send_cq == nullptr || &send_cq->context().keys() != &keys_) {
    return absl::InvalidArgumentError("the send_cq belongs to another Device");
  }
  if (recv_cq == nullptr || &recv_cq->context().keys() != &keys_) {
    return absl::InvalidArgumentError("the recv_cq belongs to another Device");
  }
  if (&send_cq->context() != &recv_cq->context()) {
    return absl::InvalidArgumentError("send_cq and recv_cq belong to different reactors");
  }
  if (options.srq == nullptr) return absl::OkStatus();
  auto* srq = dynamic_cast<UiwarpSrq*>(options.srq);
  if (srq == nullptr || &srq->keys() != &keys_ || srq->pd() != domain->id()) {
    return absl::InvalidArgumentError("the Srq belongs to another Pd");
  }
  if (&srq->reactor() != &send_cq->reactor()) {
    return absl::InvalidArgumentError("the Srq belongs to another reactor");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<UiwarpQp>> UiwarpDevice::make_qp(
    Pd& pd, const QpOptions& options, std::span<const std::byte> private_data, QpEvents& events,
    std::string_view call) {
  if (absl::Status status = check_parts(pd, options); !status.ok()) return status;
  auto& send_cq = static_cast<UiwarpCq&>(*options.send_cq);
  auto& recv_cq = static_cast<UiwarpCq&>(*options.recv_cq);
  check_thread(send_cq.reactor(), "making a Qp");
  const auto& domain = static_cast<UiwarpPd&>(pd);
  auto* srq = static_cast<UiwarpSrq*>(options.srq);
  const checks::CqShares shares(options, srq != nullptr ? srq->queue().capacity() : 0);
  for (const absl::Status& status :
       {checks::check_qp_options(caps_, options),
        checks::check_private_data(call, private_data.size(), kMaxPrivateData, caps_.name),
        shares.fit(send_cq.room(), recv_cq.room())}) {
    if (!status.ok()) return status;
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
                                                     .shares = shares,
                                                     .limits = limits(options),
                                                     .events = events});
}

absl::StatusOr<std::unique_ptr<Qp>> UiwarpDevice::connect(const Address& address, Pd& pd,
                                                          const QpOptions& options,
                                                          const ConnectParams& params,
                                                          QpEvents& events) {
  if (absl::Status status = check_address(address); !status.ok()) return status;
  absl::StatusOr<std::unique_ptr<UiwarpQp>> qp =
      make_qp(pd, options, params.private_data, events, "connect");
  if (!qp.ok()) return qp.status();
  if (absl::Status status = (*qp)->connect(*network_, address, params); !status.ok()) {
    return status;
  }
  return std::unique_ptr<Qp>(*std::move(qp));
}

}  // namespace mrpool::uiwarp
