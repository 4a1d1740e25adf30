#include "tests/sim/nvmf_host.h"

#include <algorithm>
#include <string_view>

#include "examples/load/buffer.h"
#include "tests/sim/storage.h"

namespace mrpool::sim {

namespace {

using nvme::Status;
using nvme::host::Async;
using nvme::host::Outcome;

constexpr uint32_t kMaxBlocks = 24;
constexpr size_t kSlotBytes = guarded(size_t{kMaxBlocks} * kBlockBytes);
// Longer than what the network can keep of a connection that its host gave up: until the target
// knows that, it takes the connection for alive, and so its host has to wait ([base] 2.1, 9.6).
constexpr Nanoseconds kReconnectDelay = std::chrono::milliseconds(3);

// Ways to lose a connection that no fault of the network explains.
constexpr std::string_view kWrong[] = {"terminated", "protocol error", "response", "invalidat",
                                       "no answer",  "registration",   "posting",  "cannot map"};

}  // namespace

// One command at a time, with memory of its own.
struct NvmfHost::Slot final : nvme::host::Request {
  explicit Slot(NvmfHost& host)
      : Request([](Request& self, const Outcome& outcome) {
          auto& slot = static_cast<Slot&>(self);
          slot.owner.finished(slot, outcome);
        }),
        owner(host),
        buffer(*load::Buffer::create(*host.pd_, kSlotBytes)) {
    std::ranges::fill(memory(), kIdle);
  }
  std::span<std::byte> memory() const { return buffer.bytes().first(kSlotBytes); }
  std::span<std::byte> blocks() const {
    return memory().subspan(kGuard, size_t{transfer.count} * kBlockBytes);
  }

  NvmfHost& owner;
  load::Buffer buffer;
  bool busy = false;
  Transfer transfer;  // of no blocks: a flush
};

struct NvmfHost::Reset final : nvme::host::Request {
  Reset() : Request([](Request& self, const Outcome&) { static_cast<Reset&>(self).busy = false; }) {
    nvme::PropertyCommand set;
    set.type = nvme::FabricsType::kPropertySet;
    set.offset = static_cast<uint32_t>(nvme::Property::kCc);
    set.value = uint64_t{nvme::kCcEntrySizes};
    command = nvme::read_struct<nvme::Sqe>(nvme::bytes_of(set));
  }
  bool busy = false;
};

NvmfHost::NvmfHost(NvmfWorld& world, uint32_t number)
    : world_(world),
      queues_(1 + static_cast<uint32_t>(world.below(2))),
      pd_(std::move(*world.device->alloc_pd())),
      reset_(std::make_unique<Reset>()),
      model_(world, number * kBlocks, kBlocks) {
  nvme::host::SessionOptions options;
  options.address = *Address::parse("uiwarp://127.0.0.1:4420");
  options.subnqn = kSubsystem;
  options.host = *nvme::host::identity_of("nqn.2026-11.org.mrpool:host-" + std::to_string(number));
  options.depth = static_cast<uint16_t>(1 + world.below(kSlots));
  options.reconnect = true;
  options.reconnect_delay = kReconnectDelay;
  auto pool = MrPool::create(
      *pd_, {.count = 1 + static_cast<uint32_t>(world.below(kSlots)),
             .max_segments = 1,
             .access = Access::kLocalWrite | Access::kRemoteRead | Access::kRemoteWrite});
  if (!pool.ok()) world.violate(pool.status().ToString());
  pool_ = std::move(*pool);
  auto session =
      nvme::host::Session::create(*world.device, *pd_, *pool_, world.reactor, options, *this);
  if (!session.ok()) world.violate(session.status().ToString());
  session_ = std::move(*session);
  for (uint32_t i = 0; i < kSlots; ++i) slots_.push_back(std::make_unique<Slot>(*this));
}

NvmfHost::~NvmfHost() = default;

void NvmfHost::on_event(const std::string& text) {
  for (const std::string_view wrong : kWrong) {
    if (text.find(wrong) != std::string::npos) world_.violate("a host says: " + text);
  }
}

void NvmfHost::on_over(const absl::Status& why) {
  world_.violate("a session is over: " + why.ToString());
}

void NvmfHost::open() { spawn(open_session()); }

Async<> NvmfHost::open_session() {
  absl::Status status = co_await session_->connect();
  const std::vector<Reactor*> reactors(queues_, &world_.reactor);
  if (status.ok()) status = co_await session_->open_queues(reactors);
  if (!status.ok()) world_.violate("a host cannot connect: " + status.ToString());
  opened_ = true;
}

void NvmfHost::close() { spawn(close_session()); }

Async<> NvmfHost::close_session() {
  co_await session_->disconnect();
  closed_ = true;
}

void NvmfHost::step() {
  for (const auto& slot : slots_) {
    check_untouched(world_, slot->memory(), slot->busy ? slot->blocks().size() : 0);
  }
  if (!opened_ || finishing_) return;
  Slot& slot = *slots_[world_.below(slots_.size())];
  if (!slot.busy) start(slot);
}

void NvmfHost::start(Slot& slot) {
  Transfer& transfer = slot.transfer;
  transfer.first = static_cast<uint32_t>(world_.below(kBlocks));
  transfer.count =
      1 + static_cast<uint32_t>(world_.below(std::min(kMaxBlocks, kBlocks - transfer.first)));
  transfer.write = world_.chance(500);
  slot.command = {};
  slot.command.nsid = 1u;
  slot.data = {};
  if (world_.chance(30)) {
    transfer.count = 0;
    slot.command.opcode = static_cast<uint8_t>(nvme::IoOpcode::kFlush);
  }
  if (!model_.free(transfer.first, transfer.count)) return;  // its turn comes again
  model_.begin(transfer, slot.blocks());
  if (transfer.count != 0) {
    slot.command.opcode =
        static_cast<uint8_t>(transfer.write ? nvme::IoOpcode::kWrite : nvme::IoOpcode::kRead);
    slot.command.set_range(model_.first() + transfer.first, transfer.count);
    slot.data = slot.buffer.sge(kGuard, transfer.count * kBlockBytes);
  }
  slot.busy = true;
  session_->queue(world_.below(session_->queues())).submit(slot);
}

void NvmfHost::finished(Slot& slot, const Outcome& outcome) {
  if (!slot.busy) world_.violate("a command ended twice");
  slot.busy = false;
  const bool good = nvme::ok(outcome.status);
  const Status status = nvme::code(outcome.status);
  if (!good && status != Status::kWriteFault && status != Status::kUnrecoveredRead) {
    world_.violate("a command ended by " + nvme::host::describe(outcome.status));
  }
  model_.end(slot.transfer, slot.blocks(), good ? Fate::kDone : Fate::kUnknown);
  slot.transfer.count = 0;
  std::ranges::fill(slot.memory(), kIdle);
  ++completed;
  ++world_.commands;
}

void NvmfHost::kill() {
  if (!opened_) return;
  const uint64_t which = world_.below(session_->queues() + 1);
  nvme::host::Queue& queue =
      which == session_->queues() ? session_->controller().admin() : session_->queue(which);
  if (queue.ready()) queue.abort("dropped by its host");
}

void NvmfHost::reset() {
  if (!opened_ || reset_->busy || !session_->controller().admin().ready()) return;
  reset_->busy = true;
  session_->controller().admin().submit(*reset_);
}

bool NvmfHost::idle() const {
  return std::ranges::none_of(slots_, [](const auto& slot) { return slot->busy; });
}

std::string NvmfHost::state() const {
  if (!opened_) return "connects; " + describe(*pool_);
  std::string text;
  for (size_t i = 0; i < session_->queues(); ++i) {
    const nvme::host::Queue& queue = session_->queue(i);
    text += "queue " + std::to_string(i + 1) + (queue.ready() ? ": " : " not ready: ") +
            std::to_string(queue.outstanding()) + " outstanding; ";
  }
  text += describe(*pool_) + "; " + std::to_string(session_->reconnects()) + " reconnects";
  for (const auto& slot : slots_) {
    if (slot->busy) text += "; " + describe(slot->transfer);
  }
  return text;
}

void NvmfHost::check_store() {
  model_.check([this](uint32_t number) { return world_.block(number); });
}

void NvmfHost::check_resources() { check_whole(world_, *pool_); }

}  // namespace mrpool::sim
