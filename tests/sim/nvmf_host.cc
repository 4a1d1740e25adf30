#include "tests/sim/nvmf_host.h"

#include <algorithm>
#include <string_view>

#include "examples/engine/limits.h"
#include "examples/load/buffer.h"
#include "tests/sim/storage.h"

namespace mrpool::sim {

namespace {

using nvme::Status;
using nvme::host::Async;
using nvme::host::Outcome;

constexpr uint32_t kMaxBlocks = 24;
constexpr size_t kSlotBytes = guarded(size_t{kMaxBlocks} * kBlockBytes);
// Longer than the network keeps bytes of a connection that its host gave up. Until the target
// notices, it considers the connection alive, so the host must wait ([base] 2.1, 9.6).
constexpr Nanoseconds kReconnectDelay = std::chrono::milliseconds(3);

// Of the target's patience with its storage, and of everything else.
constexpr Nanoseconds kAbortBound =
    engine::kAbortPatience + 2 * engine::kTick + std::chrono::seconds(1);

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
  size_t queue = 0;
  Nanoseconds began{};
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

struct NvmfHost::Abort final : nvme::host::Request {
  explicit Abort(NvmfHost& host)
      : Request([](Request& self, const Outcome& outcome) {
          auto& abort = static_cast<Abort&>(self);
          abort.busy = false;
          if (!nvme::ok(outcome.status)) return;
          NvmfWorld& world = abort.owner.world_;
          world.moved((outcome.result & 1) == 0 ? "aborted" : "aborted not");
          const Nanoseconds took = world.reactor.now() - abort.began;
          if (took > kAbortBound) world.violate("an Abort took too long");
          if ((outcome.result & 1) == 0 && took > engine::kAbortPatience) {
            world.moved("aborted late");
          }
        }),
        owner(host) {}
  NvmfHost& owner;
  Nanoseconds began{};
  bool busy = false;
};

NvmfHost::NvmfHost(NvmfWorld& world, uint32_t number)
    : world_(world),
      number_(number),
      queues_(1 + static_cast<uint32_t>(world.below(2))),
      depth_(static_cast<uint16_t>(1 + world.below(kSlots))),
      device_(world.device_of(number, world.crc())),
      pd_(std::move(*device_->alloc_pd())),
      reset_(std::make_unique<Reset>()),
      abort_(std::make_unique<Abort>(*this)),
      model_(world, number * kBlocks, kBlocks) {
  auto pool = MrPool::create(
      *pd_, {.count = 1 + static_cast<uint32_t>(world.below(kSlots)),
             .max_segments = 1,
             .access = Access::kLocalWrite | Access::kRemoteRead | Access::kRemoteWrite});
  if (!pool.ok()) world.violate(pool.status().ToString());
  pool_ = std::move(*pool);
  contender_ = std::make_unique<Contender>(world, world.lock(), *pd_, number);
  make_session();
  for (uint32_t i = 0; i < kSlots; ++i) slots_.push_back(std::make_unique<Slot>(*this));
}

NvmfHost::~NvmfHost() = default;

std::string NvmfHost::nqn(uint32_t number) {
  return "nqn.2026-11.org.mrpool:host-" + std::to_string(number);
}

void NvmfHost::make_session() {
  nvme::host::SessionOptions options;
  options.address = *Address::parse("uiwarp://127.0.0.1:4420");
  options.subnqn = kSubsystem;
  options.host = *nvme::host::identity_of(nqn(number_));
  options.depth = depth_;
  options.reconnect = true;
  options.reconnect_delay = kReconnectDelay;
  auto session =
      nvme::host::Session::create(*device_, *pd_, *pool_, world_.reactor, options, *this);
  if (!session.ok()) world_.violate(session.status().ToString());
  session_ = std::move(*session);
}

void NvmfHost::on_event(const std::string& text) {
  for (const std::string_view wrong : kWrong) {
    if (text.find(wrong) != std::string::npos) world_.violate("a host says: " + text);
  }
}

// Only since another disk stands where its own did, or one of another size, or since it may not
// connect any more.
void NvmfHost::on_over(const absl::Status& why) {
  if (absl::IsAborted(why)) {
    const bool size = why.message().find(" blocks of ") != std::string_view::npos;
    world_.moved(size ? "new size" : "another's disk");
  } else if (absl::IsPermissionDenied(why)) {
    check_refused();
  } else {
    world_.violate("a session is over: " + why.ToString());
  }
  opened_ = false;
  opening_ = true;
  spawn(open_again());
}

void NvmfHost::open() { spawn(open_session()); }

Async<> NvmfHost::open_session() {
  opening_ = true;
  for (;;) {
    const bool done = co_await try_to_open();
    if (done) break;
    if (!world_.faults && !mine_) world_.violate("a host cannot connect");
    make_session();
    co_await nvme::host::pause(world_.reactor, kReconnectDelay);
  }
  opened_ = true;
  opening_ = false;
}

// False, and without a session: it did not connect, or its disk is missing.
Async<bool> NvmfHost::try_to_open() {
  absl::Status status = co_await session_->connect();
  if (status.ok()) {
    const auto ns = co_await session_->controller().namespace_info(1);
    status = ns.status();
    if (ns.ok() && mine_ && ns->identifiers != mine_->identifiers) {
      status = absl::AbortedError("another's disk");
    } else if (ns.ok()) {
      mine_ = *ns;
    }
    if (ns.ok()) session_->pin(*ns);
  }
  const std::vector<Reactor*> reactors(queues_, &world_.reactor);
  if (status.ok()) status = co_await session_->open_queues(reactors);
  if (status.ok()) {
    check_admitted();
    co_return true;
  }
  if (absl::IsPermissionDenied(status)) {
    check_refused();
    world_.moved("not allowed");
  }
  co_await session_->disconnect();
  co_await nvme::host::pause(world_.reactor, Nanoseconds{0});
  session_.reset();
  pool_->repair();
  co_return false;
}

Async<> NvmfHost::open_again() {
  co_await nvme::host::pause(world_.reactor, kReconnectDelay);  // out of the session's hands
  co_await session_->disconnect();
  co_await nvme::host::pause(world_.reactor, Nanoseconds{0});
  session_.reset();
  pool_->repair();
  make_session();
  co_await open_session();
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
  const bool contends = opened_ && !finishing_ && pace_ == Nanoseconds{} && world_.chance(200);
  contender_->step(session_.get(), contends);
  if (!opened_ || finishing_ || world_.reactor.now() < next_) return;
  next_ = world_.reactor.now() + pace_;
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
  const uint64_t end = uint64_t{model_.first()} + transfer.first + transfer.count;
  const bool there = transfer.count == 0 || end <= mine_->blocks;
  if (!there || !model_.free(transfer.first, transfer.count)) {
    return;  // its turn comes again
  }
  model_.begin(transfer, slot.blocks());
  if (transfer.count != 0) {
    slot.command.opcode =
        static_cast<uint8_t>(transfer.write ? nvme::IoOpcode::kWrite : nvme::IoOpcode::kRead);
    slot.command.set_range(model_.first() + transfer.first, transfer.count);
    slot.data = slot.buffer.sge(kGuard, transfer.count * kBlockBytes);
  }
  slot.busy = true;
  slot.began = world_.reactor.now();
  slot.queue = world_.below(session_->queues());
  session_->queue(slot.queue).submit(slot);
}

void NvmfHost::finished(Slot& slot, const Outcome& outcome) {
  if (!slot.busy) world_.violate("a command ended twice");
  slot.busy = false;
  const bool good = nvme::ok(outcome.status);
  if (good) check_admitted();
  const Status status = nvme::code(outcome.status);
  // One that was refused may have been carried out on an earlier connection.
  const Fate fate = good ? Fate::kDone : Fate::kUnknown;
  switch (status) {
    case Status::kInvalidNamespace:  // of a disk that this host does not know
      world_.moved("refused");
      break;
    case Status::kLbaOutOfRange:
      if (!world_.was_cut()) world_.violate("a command within its disk is out of range");
      world_.moved("beyond the end");
      break;
    case Status::kSuccess:
    case Status::kWriteFault:
    case Status::kUnrecoveredRead:
    case Status::kAbortRequested:
      break;
    default:
      // The session is over.
      if (code(status) == code(nvme::host::kHostPathing)) break;
      if (code(status) == code(nvme::host::kAbortedByHost)) break;
      world_.violate("a command ended by " + nvme::to_string(outcome.status));
  }
  model_.end(slot.transfer, slot.blocks(), fate);
  slot.transfer.count = 0;
  std::ranges::fill(slot.memory(), kIdle);
  ++completed;
  ++world_.commands;
}

void NvmfHost::check_admitted() {
  if (world_.admission().settled_refusal(number_, world_.reactor.now())) {
    world_.violate("a host that may not connect is served");
  }
}

void NvmfHost::check_refused() {
  if (world_.admission().settled_admission(number_, world_.reactor.now())) {
    world_.violate("a host that may connect is refused");
  }
}

void NvmfHost::kill() {
  if (!opened_) return;
  const uint64_t which = world_.below(session_->queues() + 1);
  nvme::host::Queue& queue =
      which == session_->queues() ? session_->controller().admin() : session_->queue(which);
  if (!queue.ready()) return;
  world_.moved("drop");
  queue.abort("dropped by its host");
}

void NvmfHost::reset() {
  if (!opened_ || reset_->busy || !session_->controller().admin().ready()) return;
  world_.moved("reset");
  reset_->busy = true;
  session_->controller().admin().submit(*reset_);
}

void NvmfHost::abort() {
  if (!opened_ || abort_->busy || !session_->controller().admin().ready()) return;
  const Slot& slot = *slots_[world_.below(slots_.size())];
  if (!slot.busy) return;
  world_.moved("abort");
  abort_->busy = true;
  abort_->began = world_.reactor.now();
  abort_->command = {};
  abort_->command.opcode = static_cast<uint8_t>(nvme::AdminOpcode::kAbort);
  abort_->command.cdw10 = uint32_t(slot.queue + 1) | uint32_t(slot.command.command_id) << 16;
  session_->controller().admin().submit(*abort_);
}

bool NvmfHost::connected() const {
  if (!opened_) return false;
  for (size_t i = 0; i < session_->queues(); ++i) {
    if (!session_->queue(i).ready()) return false;
  }
  return true;
}

Nanoseconds NvmfHost::oldest_command() const {
  Nanoseconds oldest = Nanoseconds::max();
  for (const auto& slot : slots_) {
    if (slot->busy) oldest = std::min(oldest, slot->began);
  }
  return oldest;
}

bool NvmfHost::idle() const {
  return !opening_ && !abort_->busy && !reset_->busy && contender_->idle() &&
         std::ranges::none_of(slots_, [](const auto& slot) { return slot->busy; });
}

std::string NvmfHost::state() const {
  if (!opened_ || session_ == nullptr) return "connects; " + describe(*pool_);
  std::string text;
  for (size_t i = 0; i < session_->queues(); ++i) {
    const nvme::host::Queue& queue = session_->queue(i);
    text += "queue " + std::to_string(i + 1) + (queue.ready() ? ": " : " not ready: ") +
            std::to_string(queue.outstanding()) + " outstanding; ";
  }
  if (mine_) text += std::to_string(mine_->blocks) + " blocks; ";
  text += describe(*pool_) + "; " + std::to_string(session_->reconnects()) + " reconnects";
  for (const auto& slot : slots_) {
    if (slot->busy) text += "; " + describe(slot->transfer);
  }
  text += contender_->state();
  return text;
}

void NvmfHost::check_store() {
  model_.check([this](uint32_t number) { return world_.block(number); });
}

void NvmfHost::check_resources() { check_whole(world_, *pool_); }

}  // namespace mrpool::sim
