#include "tests/sim/nvmf_visitor.h"

#include <algorithm>
#include <utility>

#include "examples/load/buffer.h"
#include "examples/nvmf/host/discovery.h"
#include "examples/nvmf/target/limits.h"
#include "tests/sim/blocks.h"

namespace mrpool::sim {

namespace {

using nvme::host::Async;
using nvme::host::Outcome;

constexpr uint32_t kSlots = 6;
constexpr uint32_t kRounds = 8;
constexpr uint32_t kMost = 16 << 10;  // bytes of a command
constexpr Nanoseconds kLook = std::chrono::milliseconds(1);

}  // namespace

struct NvmfVisitor::Slot final : nvme::host::Request {
  explicit Slot(NvmfVisitor& visitor)
      : Request([](Request& self, const Outcome& outcome) {
          auto& slot = static_cast<Slot&>(self);
          slot.owner.finished(slot, outcome);
        }),
        owner(visitor),
        buffer(*load::Buffer::create(*visitor.pd_, guarded(kMost))) {
    std::ranges::fill(memory(), kIdle);
  }
  std::span<std::byte> memory() const { return buffer.bytes().first(guarded(kMost)); }

  NvmfVisitor& owner;
  load::Buffer buffer;
  bool busy = false;
};

NvmfVisitor::NvmfVisitor(Simulation& simulation, Device& device, NvmfVisitorOptions options)
    : simulation_(simulation),
      device_(device),
      options_(std::move(options)),
      pd_(std::move(*device.alloc_pd())) {
  auto pool = MrPool::create(
      *pd_, {.count = 1 + static_cast<uint32_t>(simulation.below(kSlots)),
             .max_segments = 1,
             .access = Access::kLocalWrite | Access::kRemoteRead | Access::kRemoteWrite});
  if (!pool.ok()) simulation.violate(pool.status().ToString());
  pool_ = std::move(*pool);
  for (uint32_t i = 0; i < kSlots; ++i) slots_.push_back(std::make_unique<Slot>(*this));
}

NvmfVisitor::~NvmfVisitor() = default;

void NvmfVisitor::make_session(bool discovery) {
  nvme::host::SessionOptions options;
  options.address = *Address::parse("uiwarp://127.0.0.1:4420");
  options.subnqn = discovery ? std::string(nvme::kDiscoveryNqn) : options_.subsystem;
  options.host = *nvme::host::identity_of(options_.host);
  options.depth = 4;
  options.keep_alive = std::chrono::seconds(1);
  options.command_timeout = options_.patience;
  options.reconnect = simulation_.chance(500);
  options.reconnect_delay = std::chrono::milliseconds(10);
  options.loss_timeout = std::chrono::seconds(3);
  auto session =
      nvme::host::Session::create(device_, *pd_, *pool_, simulation_.reactor, options, *this);
  if (!session.ok()) simulation_.violate(session.status().ToString());
  session_ = std::move(*session);
}

void NvmfVisitor::on_over(const absl::Status& why) {
  if (why.ok() || why.message().empty()) simulation_.violate("a session ends without a reason");
}

void NvmfVisitor::visit() {
  visiting_ = true;
  went_well_ = false;
  failed_ = 0;
  since_ = simulation_.reactor.now();
  const bool discovery = simulation_.chance(200);
  simulation_.moved(discovery ? "discovery" : "visit");
  make_session(discovery);
  spawn(stay(discovery));
}

Async<> NvmfVisitor::stay(bool discovery) {
  phase_ = "connects";
  const absl::Status connected = co_await session_->connect();
  simulation_.moved(connected.ok() ? "connected" : "not connected");
  if (!connected.ok() && connected.message().empty()) simulation_.violate("no reason is given");
  if (connected.ok()) {
    if (discovery) {
      went_well_ = co_await read_log();
    } else {
      went_well_ = co_await move_data();
    }
    phase_ = "leaves";
  }
  co_await session_->disconnect();
  co_await nvme::host::pause(simulation_.reactor, Nanoseconds{0});
  if (under_way_ != 0) simulation_.violate("a command was never ended");
  session_.reset();
  pool_->repair();
  phase_ = "at home";
  visiting_ = false;
}

Async<bool> NvmfVisitor::read_log() {
  phase_ = "discovers";
  const auto log = co_await nvme::host::read_discovery_log(session_->controller());
  co_return log.ok();
}

Async<bool> NvmfVisitor::move_data() {
  phase_ = "looks";
  const auto all = co_await session_->controller().active_namespaces();
  const auto ns = co_await session_->controller().namespace_info(1);
  if (!ns.ok()) co_return false;
  if (ns->block_size < 512 || ns->blocks == 0 ||
      ns->blocks > uint64_t{INT64_MAX} / ns->block_size) {
    simulation_.violate("a namespace of an impossible size");
  }
  session_->pin(*ns);
  Reactor* const reactors[] = {&simulation_.reactor};
  const absl::Status opened = co_await session_->open_queues(reactors);
  if (!opened.ok()) co_return false;
  simulation_.moved("data");
  phase_ = "moves data";
  for (uint32_t round = 0; round < kRounds; ++round) {
    for (const auto& slot : slots_) start(*slot, *ns);
    while (under_way_ != 0) co_await nvme::host::pause(simulation_.reactor, kLook);
  }
  phase_ = "asks for the cause";
  const absl::Status cause = co_await session_->cause();
  if (!cause.ok()) simulation_.moved("a cause");
  co_return all.ok() && cause.ok() && failed_ == 0;
}

void NvmfVisitor::start(Slot& slot, const nvme::host::NamespaceInfo& ns) {
  if (ns.block_size > kMost || session_->queues() == 0) return;
  const uint64_t most = std::min<uint64_t>(kMost / ns.block_size, ns.blocks);
  const auto count = static_cast<uint32_t>(1 + simulation_.below(most));
  const bool write = !options_.reads_only && simulation_.chance(500);
  slot.command = {};
  slot.command.opcode =
      static_cast<uint8_t>(write ? nvme::IoOpcode::kWrite : nvme::IoOpcode::kRead);
  slot.command.nsid = 1u;
  slot.command.set_range(simulation_.below(ns.blocks - count + 1), count);
  slot.data = slot.buffer.sge(kGuard, count * ns.block_size);
  slot.busy = true;
  ++under_way_;
  session_->queue(0).submit(slot);
}

void NvmfVisitor::finished(Slot& slot, const Outcome& outcome) {
  if (!slot.busy) simulation_.violate("a command ended twice");
  slot.busy = false;
  --under_way_;
  if (options_.counted) ++simulation_.commands;
  simulation_.note(static_cast<uint64_t>(outcome.status));
  if (nvme::ok(outcome.status) || simulation_.planted(Plant::kEarlyAnswer)) {
    options_.done(slot.command.command_id);
  } else {
    ++failed_;
  }
  std::ranges::fill(slot.memory(), kIdle);
}

void NvmfVisitor::step() {
  for (const auto& slot : slots_) {
    check_untouched(simulation_, slot->memory(), slot->busy ? slot->data.length : 0);
  }
}

void NvmfVisitor::check_resources() { check_whole(simulation_, *pool_); }

std::string NvmfVisitor::state() const {
  return std::string(phase_) + "; " + std::to_string(under_way_) + " commands; " + describe(*pool_);
}

}  // namespace mrpool::sim
