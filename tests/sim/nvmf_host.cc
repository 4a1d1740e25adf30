#include "tests/sim/nvmf_host.h"

#include <algorithm>
#include <cstring>
#include <string_view>

#include "examples/load/buffer.h"
#include "tests/sim/storage.h"

namespace mrpool::sim {

namespace {

using nvme::Status;
using nvme::host::Async;
using nvme::host::Outcome;

constexpr uint32_t kMaxBlocks = 24;
constexpr size_t kGuard = 64;
constexpr size_t kSlotBytes = size_t{kMaxBlocks} * kBlockBytes + 2 * kGuard;
constexpr std::byte kIdle{0xc5};
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
  std::span<std::byte> block(uint32_t i) const {
    return memory().subspan(kGuard + size_t{i} * kBlockBytes, kBlockBytes);
  }

  NvmfHost& owner;
  load::Buffer buffer;
  bool busy = false;
  bool write = false;
  uint32_t first = 0;  // of the host's blocks
  uint32_t count = 0;  // 0: a flush
  uint32_t version = 0;
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
      first_block_(number * kBlocks),
      queues_(1 + static_cast<uint32_t>(world.below(2))),
      pd_(std::move(*world.device->alloc_pd())),
      reset_(std::make_unique<Reset>()),
      model_(kBlocks, {0}),
      busy_(kBlocks) {
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
  for (const auto& slot : slots_) check_memory(*slot);
  if (!opened_ || finishing_) return;
  Slot& slot = *slots_[world_.below(slots_.size())];
  if (!slot.busy) start(slot);
}

void NvmfHost::start(Slot& slot) {
  slot.first = static_cast<uint32_t>(world_.below(kBlocks));
  slot.count = 1 + static_cast<uint32_t>(world_.below(std::min(kMaxBlocks, kBlocks - slot.first)));
  slot.write = world_.chance(500);
  slot.command = {};
  slot.command.nsid = 1u;
  slot.data = {};
  if (world_.chance(30)) {
    slot.count = 0;
    slot.command.opcode = static_cast<uint8_t>(nvme::IoOpcode::kFlush);
  }
  for (uint32_t i = slot.first; i < slot.first + slot.count; ++i) {
    if (busy_[i]) return;  // its turn comes again
  }
  slot.version = slot.write ? next_version_++ : 0;
  for (uint32_t i = 0; i < slot.count; ++i) {
    busy_[slot.first + i] = true;
    if (!slot.write) continue;
    stamp(slot.block(i), first_block_ + slot.first + i, slot.version);
    model_[slot.first + i].insert(slot.version);
  }
  if (slot.count != 0) {
    slot.command.opcode =
        static_cast<uint8_t>(slot.write ? nvme::IoOpcode::kWrite : nvme::IoOpcode::kRead);
    slot.command.set_range(first_block_ + slot.first, slot.count);
    slot.data = slot.buffer.sge(kGuard, slot.count * kBlockBytes);
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
  for (uint32_t i = 0; i < slot.count; ++i) {
    const uint32_t number = first_block_ + slot.first + i;
    std::set<uint32_t>& versions = model_[slot.first + i];
    busy_[slot.first + i] = false;
    uint32_t seen = 0;
    const bool whole = read_stamp(slot.block(i), number, seen);
    if (slot.write) {
      // Lent for reading only.
      if (!whole || seen != slot.version) world_.violate("a write's buffer changed");
      if (good) versions = {slot.version};
    } else if (good) {
      if (!whole) world_.violate("a read brought a torn block");
      if (!versions.contains(seen)) {
        world_.violate("block " + std::to_string(number) + " reads version " +
                       std::to_string(seen) + ", which it cannot hold");
      }
      versions = {seen};
    }
  }
  slot.count = 0;
  std::ranges::fill(slot.memory(), kIdle);
  ++completed;
  ++world_.commands;
}

void NvmfHost::check_memory(const Slot& slot) const {
  const size_t lent = slot.busy ? size_t{slot.count} * kBlockBytes : 0;
  // Every byte equals the one in front of it: at the speed of memcmp.
  const auto untouched = [](std::span<const std::byte> bytes) {
    return bytes.front() == kIdle &&
           std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0;
  };
  const std::span<const std::byte> all = slot.memory();
  if (!untouched(all.first(kGuard)) || !untouched(all.subspan(kGuard + lent))) {
    world_.violate("memory that no live key covers was written");
  }
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

void NvmfHost::check_store() {
  for (uint32_t i = 0; i < kBlocks; ++i) {
    const uint32_t number = first_block_ + i;
    uint32_t version = 0;
    if (!read_stamp(world_.block(number), number, version)) {
      world_.violate("block " + std::to_string(number) + " is torn");
    }
    if (!model_[i].contains(version)) {
      world_.violate("block " + std::to_string(number) + " holds version " +
                     std::to_string(version) + ": an acknowledged write is lost");
    }
  }
}

void NvmfHost::check_resources() {
  pool_->repair();
  const MrPoolStats stats = pool_->stats();
  if (stats.in_use != 0 || stats.in_repair != 0) {
    world_.violate("a host's pool has " + std::to_string(stats.in_use) + " MRs out");
  }
  std::vector<MrPool::Lease> all;
  for (uint32_t i = 0; i < stats.size; ++i) {
    all.push_back(pool_->get());
    if (!all.back()) world_.violate("an MR of a host's pool is lost");
  }
}

}  // namespace mrpool::sim
