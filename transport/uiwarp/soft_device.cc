#include "transport/uiwarp/soft_device.h"

#include <algorithm>
#include <random>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "transport/uiwarp/check.h"
#include "transport/uiwarp/completion_queue.h"
#include "transport/uiwarp/fast_key.h"
#include "transport/uiwarp/listener.h"
#include "transport/uiwarp/srq.h"

namespace mrpool {
namespace uiwarp {

namespace {

constexpr uint32_t kMaxQueue = 32 * 1024;
constexpr uint16_t kMaxReads = 128;

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
  caps.max_qp_wr = kMaxQueue;
  caps.max_sge = kMaxSges;
  caps.max_read_sge = 1;
  caps.max_mr = KeyTable::kMaxSlots;
  caps.max_fast_reg_segments = 1024;
  caps.max_message = uint64_t{1} << 30;
  caps.max_ord = kMaxReads;
  caps.max_ird = kMaxReads;
  return caps;
}

uint64_t drawn_seed() {
  std::random_device device;
  return uint64_t{device()} << 32 | device();
}

absl::Status over(std::string_view what, uint64_t asked, uint64_t limit) {
  return absl::InvalidArgumentError(absl::StrCat(absl::string_view(what.data(), what.size()), " ",
                                                 asked, " exceeds the device's ", limit));
}

}  // namespace

absl::StatusOr<DeviceOptions> parse_options(std::string_view text) {
  DeviceOptions options;
  if (text.empty()) return options;
  for (absl::string_view part : absl::StrSplit(absl::string_view(text.data(), text.size()), '&')) {
    const std::pair<absl::string_view, absl::string_view> option =
        absl::StrSplit(part, absl::MaxSplits('=', 1));
    const absl::string_view name = option.first;
    const absl::string_view value = option.second;
    const auto bad = [&](absl::string_view allowed) {
      return absl::InvalidArgumentError(
          absl::StrCat("uiwarp option ", name, "=", value, ": expected ", allowed));
    };
    if (name == "crc") {
      if (value != "on" && value != "off") return bad("crc=on or crc=off");
      options.crc = value == "on";
    } else if (name == "placement") {
      if (value != "direct" && value != "adversarial") {
        return bad("placement=direct or placement=adversarial");
      }
      options.adversarial_placement = value == "adversarial";
    } else if (name == "poison") {
      if (value != "on" && value != "off") return bad("poison=on or poison=off");
      options.poison = value == "on";
    } else if (name == "seed") {
      uint64_t seed = 0;
      if (!absl::SimpleAtoi(value, &seed)) return bad("seed=NUMBER");
      options.seed = seed;
    } else {
      return absl::InvalidArgumentError(absl::StrCat(
          "unknown uiwarp option \"", name, "\"; there are crc, placement, poison and seed"));
    }
  }
  if (options.poison && !options.adversarial_placement) {
    return absl::InvalidArgumentError("uiwarp option poison=on needs placement=adversarial");
  }
  return options;
}

std::shared_ptr<Device> make_device(const DeviceOptions& options,
                                    std::shared_ptr<Network> network) {
  const uint64_t seed = options.seed.has_value() ? *options.seed : drawn_seed();
  return std::make_shared<SoftDevice>(options, seed, std::move(network));
}

SoftDevice::SoftDevice(const DeviceOptions& options, uint64_t seed,
                       std::shared_ptr<Network> network)
    : crc_(options.crc),
      network_(std::move(network)),
      caps_(make_caps()),
      sanitizer_(options.adversarial_placement
                     ? std::make_unique<OrderingSanitizer>(seed, options.poison)
                     : nullptr),
      keys_(seed, sanitizer_.get()) {}

}  // namespace uiwarp

std::optional<OrderingReport> ordering_report(const Device& device) {
  const auto* soft = dynamic_cast<const uiwarp::SoftDevice*>(&device);
  if (soft == nullptr || soft->sanitizer() == nullptr) return std::nullopt;
  return soft->sanitizer()->report();
}

namespace uiwarp {

absl::StatusOr<std::unique_ptr<Pd>> SoftDevice::alloc_pd() {
  return std::make_unique<ProtectionDomain>(shared_from_this(), next_id_.fetch_add(1));
}

std::shared_ptr<Context> SoftDevice::context(Reactor& reactor) {
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

absl::StatusOr<std::unique_ptr<Cq>> SoftDevice::create_cq(Reactor& reactor,
                                                          const CqOptions& options) {
  check_thread(reactor, "Device::create_cq");
  if (options.depth == 0) return absl::InvalidArgumentError("CqOptions::depth is 0");
  return std::make_unique<CompletionQueue>(context(reactor), options);
}

absl::StatusOr<std::unique_ptr<Listener>> SoftDevice::listen(Reactor& reactor,
                                                             const Address& address,
                                                             ListenHandler& handler) {
  check_thread(reactor, "Device::listen");
  auto door = std::make_unique<StreamDoor>(shared_from_this(), context(reactor), handler);
  if (absl::Status status = door->open(*network_, address); !status.ok()) return status;
  return door;
}

MpaLimits SoftDevice::limits(const QpOptions& options) const {
  return {.crc = crc_, .ord = options.ord, .ird = options.ird, .max_ird = caps_.max_ird};
}

absl::StatusOr<std::unique_ptr<QueuePair>> SoftDevice::make_qp(
    Pd& pd, const QpOptions& options, std::span<const std::byte> private_data, QpEvents& events) {
  if (options.send_cq == nullptr || options.recv_cq == nullptr) {
    return absl::InvalidArgumentError("QpOptions needs a send_cq and a recv_cq");
  }
  auto& send_cq = static_cast<CompletionQueue&>(*options.send_cq);
  auto& recv_cq = static_cast<CompletionQueue&>(*options.recv_cq);
  if (&send_cq.context() != &recv_cq.context()) {
    return absl::InvalidArgumentError("send_cq and recv_cq belong to different reactors");
  }
  check_thread(send_cq.reactor(), "making a Qp");
  const auto& domain = static_cast<ProtectionDomain&>(pd);
  auto* srq = static_cast<SharedReceives*>(options.srq);
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
    if (each.asked > each.limit) return over(each.name, each.asked, each.limit);
  }
  return std::make_unique<QueuePair>(QueuePair::Params{.pd = pd,
                                                       .pd_id = domain.id(),
                                                       .qp_id = next_id_.fetch_add(1),
                                                       .keys = keys_,
                                                       .caps = caps_,
                                                       .send_cq = send_cq,
                                                       .recv_cq = recv_cq,
                                                       .srq = srq,
                                                       .sanitizer = sanitizer_.get(),
                                                       .options = options,
                                                       .limits = limits(options),
                                                       .events = events});
}

absl::StatusOr<std::unique_ptr<Qp>> SoftDevice::connect(const Address& address, Pd& pd,
                                                        const QpOptions& options,
                                                        const ConnectParams& params,
                                                        QpEvents& events) {
  absl::StatusOr<std::unique_ptr<QueuePair>> qp = make_qp(pd, options, params.private_data, events);
  if (!qp.ok()) return qp.status();
  if (absl::Status status = (*qp)->connect(*network_, address, params); !status.ok()) {
    return status;
  }
  return std::unique_ptr<Qp>(*std::move(qp));
}

absl::StatusOr<std::unique_ptr<Mr>> ProtectionDomain::reg_mr(std::span<std::byte> memory,
                                                             Access access) {
  Granted granted;
  if (absl::Status status = grant(access, caps().access, granted); !status.ok()) return status;
  if (memory.empty()) return absl::InvalidArgumentError("the memory to register is empty");
  uint32_t stag = 0;
  KeySlot* slot = device_->keys().allocate(stag);
  if (slot == nullptr) {
    return absl::ResourceExhaustedError(
        absl::StrCat("max_mr: all ", caps().max_mr, " keys of the device are in use"));
  }
  return std::make_unique<BaseKey>(device_->keys(), slot, stag, id_, memory, granted);
}

absl::StatusOr<std::unique_ptr<FastMr>> ProtectionDomain::alloc_fast_mr(
    const FastMrOptions& options) {
  absl::StatusOr<std::unique_ptr<FastKey>> key =
      FastKey::create(device_->keys(), id_, caps(), options);
  if (!key.ok()) return key.status();
  return std::unique_ptr<FastMr>(*std::move(key));
}

absl::StatusOr<std::unique_ptr<Srq>> ProtectionDomain::create_srq(Reactor& reactor,
                                                                  const SrqOptions& options) {
  if (options.max_wr == 0 || options.max_wr > caps().max_qp_wr) {
    return over("SrqOptions::max_wr", options.max_wr, caps().max_qp_wr);
  }
  if (options.max_sge == 0 || options.max_sge > caps().max_sge) {
    return over("SrqOptions::max_sge", options.max_sge, caps().max_sge);
  }
  return std::make_unique<SharedReceives>(device_->keys(), id_, reactor, options);
}

BaseKey::BaseKey(KeyTable& keys, KeySlot* slot, uint32_t stag, uint64_t pd,
                 std::span<std::byte> memory, const Granted& granted)
    : keys_(keys), slot_(slot), segment_{.memory = memory.data(), .length = memory.size()} {
  const auto address = reinterpret_cast<uintptr_t>(memory.data());
  memory_ = memory;
  granted_ = granted;
  lkey_ = {stag};
  rkey_ = {stag};
  remote_addr_ = {any(granted.effective & Access::kZeroBased) ? 0 : address};
  slot_->pd = pd;
  slot_->remote_base = remote_addr_.value;
  slot_->local_base = address;
  slot_->length = memory.size();
  slot_->segments = &segment_;
  slot_->segment_count = 1;
  slot_->access = granted.effective;
  keys_.open(*slot_, stag);
}

BaseKey::~BaseKey() {
  KeyTable::close(*slot_);
  keys_.synchronize();
  keys_.release(slot_);
}

}  // namespace uiwarp
}  // namespace mrpool
