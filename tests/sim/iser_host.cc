#include "tests/sim/iser_host.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "examples/base/big_endian.h"
#include "examples/iser/initiator/client.h"
#include "examples/iser/target/limits.h"
#include "examples/protocol/scsi/target_device.h"
#include "examples/protocol/scsi/third_party_copy.h"

namespace mrpool::sim {

namespace {

constexpr uint32_t kMaxBlocks = 48;  // 24 KiB: beyond every unsolicited burst but the longest
constexpr size_t kSlotBytes = guarded(size_t{kMaxBlocks} * kBlockBytes);
constexpr uint8_t kSynchronizeCache16 = 0x91;
constexpr uint8_t kExtendedCopy = 0x83;
constexpr size_t kCopyList =
    scsi::kCopyHeaderSize + 2 * scsi::kCopyUnitSize + scsi::kCopySegmentSize;
// Of the target's patience with its storage, and of everything else.
constexpr Nanoseconds kAbortBound =
    engine::kAbortPatience + 2 * engine::kTick + std::chrono::seconds(1);

using iscsi::TaskFunction;
using iscsi::TaskResponse;

}  // namespace

// A task management function, one at a time.
struct IserHost::Function final : iser::Management {
  explicit Function(IserHost& host)
      : Management([](Management& self) {
          auto& function = static_cast<Function&>(self);
          function.busy = false;
          if (!function.lost && function.response != TaskResponse::kComplete) {
            function.owner.world_.violate("a reset was refused");
          }
        }),
        owner(host) {}
  IserHost& owner;
  bool busy = false;
};

// One command at a time, with memory of its own. What takes too long is aborted: the command may
// wait for long, and an abort may come at any moment of its life.
struct IserHost::Slot final : iser::Command {
  struct Abort final : iser::Management {
    explicit Abort(Slot& s)
        : Management([](Management& self) {
            auto& abort = static_cast<Abort&>(self);
            Slot& slot = abort.slot;
            abort.busy = false;
            if (abort.lost) return;
            IserWorld& world = slot.owner.world_;
            const Nanoseconds took = world.reactor.now() - abort.began;
            if (took > kAbortBound) world.violate("an ABORT TASK took too long");
            if (took > engine::kAbortPatience) world.moved("aborted late");
            if (abort.response != TaskResponse::kComplete &&
                abort.response != TaskResponse::kNoTask) {
              slot.owner.world_.violate("an abort was refused");
            }
          }),
          slot(s) {}
    Slot& slot;
    Nanoseconds began{};
    bool busy = false;
  };
  struct Overdue final : Timer {
    explicit Overdue(IserHost::Slot& s)
        : Timer([](Timer& self) {
            IserHost::Slot& slot = static_cast<Overdue&>(self).slot;
            slot.owner.overdue(slot);
          }),
          slot(s) {}
    IserHost::Slot& slot;
  };

  explicit Slot(IserHost& host)
      : Command([](Command& self) {
          auto& slot = static_cast<Slot&>(self);
          slot.owner.finished(slot);
        }),
        owner(host),
        memory(kSlotBytes, kIdle),
        abort(*this),
        timer(*this) {
    auto made = host.pd_->reg_mr(memory, Access::kLocalWrite);
    if (!made.ok()) host.world_.violate(made.status().ToString());
    mr = std::move(*made);
  }
  ~Slot() { timer.cancel(); }
  std::span<std::byte> blocks() {
    return std::span(memory).subspan(kGuard, size_t{transfer.count} * kBlockBytes);
  }
  // What is lent to the command.
  size_t lent() const { return copies ? kCopyList : size_t{transfer.count} * kBlockBytes; }

  IserHost& owner;
  std::vector<std::byte> memory;
  std::unique_ptr<Mr> mr;
  Abort abort;
  Overdue timer;
  uint16_t unit = 0;
  Nanoseconds began{};
  Transfer transfer;    // of no blocks: SYNCHRONIZE CACHE
  bool copies = false;  // EXTENDED COPY from the other unit
  bool busy = false;
};

IserHost::IserHost(IserWorld& world, uint32_t number)
    : world_(world),
      number_(number),
      target_(static_cast<uint32_t>(world.below(IserWorld::kTargets))),
      device_(world.device_of(number, world.crc())),
      pd_(std::move(*device_->alloc_pd())),
      models_(IserWorld::kUnits, BlockModel(world, number * kBlocks, kBlocks)),
      function_(std::make_unique<Function>(*this)) {
  auto pool = MrPool::create(
      *pd_, {.count = 1 + static_cast<uint32_t>(world.below(kSlots)),
             .max_segments = 1,
             .access = Access::kLocalWrite | Access::kRemoteRead | Access::kRemoteWrite});
  if (!pool.ok()) world.violate(pool.status().ToString());
  pool_ = std::move(*pool);
  auto page = load::Buffer::create(*pd_, IserWorld::kUnits * iser::UnitReader::kBuffer);
  if (!page.ok()) world.violate(page.status().ToString());
  page_ = std::make_unique<load::Buffer>(*std::move(page));
  for (uint32_t i = 0; i < kSlots; ++i) slots_.push_back(std::make_unique<Slot>(*this));
  for (uint16_t unit = 0; world.copies() && unit < IserWorld::kUnits; ++unit) {
    models_[unit].number_from(1 + (uint32_t{unit} << 24));
  }
}

IserHost::~IserHost() = default;

std::string IserHost::name(size_t number) {
  return "iqn.2026-11.org.mrpool:host-" + std::to_string(number);
}

void IserHost::log_in() {
  iser::SessionOptions options{.address = {"uiwarp", "127.0.0.1", 3260, ""}};
  options.depth = 1 + static_cast<uint32_t>(world_.below(kSlots));
  options.remote_invalidation = world_.chance(800);
  options.send_first_burst = world_.chance(500);
  options.login.initiator = name(number_);
  options.login.target = IserWorld::kNames[target_];
  options.login.isid = {0x80, 0, 0, 0, 0, 1};
  constexpr uint32_t kBursts[] = {512, 4096, 8192, 16384, 24576, 65536};
  constexpr uint32_t kSegments[] = {512, 2048, 8192};
  options.login.limits = {.initial_r2t = world_.chance(500),
                          .immediate_data = world_.chance(800),
                          .first_burst = kBursts[world_.below(std::size(kBursts))],
                          .target_recv = kSegments[world_.below(std::size(kSegments))]};
  options.login.random = [&world = world_](std::span<uint8_t> out) {
    for (uint8_t& byte : out) byte = static_cast<uint8_t>(world.below(256));
  };
  right_ = world_.admission().admits(number_);
  access_changes_ = world_.access_changes();
  if (target_ == 1) {
    const bool wrong = world_.faults && world_.chance(100);
    options.login.chap = {"host", wrong ? world_.old_secret() : world_.secret()};
    if (world_.chance(500)) options.login.mutual = {"target", IserWorld::kTargetSecret};
    right_ = right_ && !wrong;
  }
  session_ =
      std::make_unique<iser::Session>(world_.reactor, *device_, *pd_, *pool_, std::move(options));
  for (uint16_t unit = 0; unit < IserWorld::kUnits; ++unit) {
    units_[unit].changed = true;
    readers_[unit] = std::make_unique<iser::UnitReader>(
        *session_, world_.reactor, scsi::encode_lun(unit),
        page_->sge(unit * iser::UnitReader::kBuffer, iser::UnitReader::kBuffer));
  }
  session_->start([this](absl::Status status) { ready(status); });
}

void IserHost::ready(const absl::Status& status) {
  world_.note(static_cast<uint64_t>(status.code()));
  if (!right_ && !access_changed() && status.ok()) {
    world_.violate("a login that had to be refused was let in");
  }
}

// Why a session may end: the network broke it, or this side, or the login was to be refused.
void IserHost::ended() {
  const absl::Status& why = session_->error();
  const bool refused = absl::IsUnauthenticated(why) || absl::IsPermissionDenied(why);
  if (absl::IsPermissionDenied(why)) world_.moved("not allowed");
  if (absl::IsUnauthenticated(why)) world_.moved("old secret");
  const bool right = absl::IsUnavailable(why) || absl::IsCancelled(why) ||
                     (refused && (!right_ || access_changed())) ||
                     why.message() == "a command could not be sent: not connected";
  const DisconnectReason by = session_->ended_by();
  if (!right || by == DisconnectReason::kTerminated || by == DisconnectReason::kProtocol) {
    world_.violate("a session ended: " + why.ToString());
  }
  // Every completion came before.
  for (const auto& slot : slots_) {
    if (slot->busy || slot->abort.busy) world_.violate("a command was never ended");
  }
  if (function_->busy || pinging_) world_.violate("a request was never answered");
  for (auto& reader : readers_) reader.reset();
  looking_ = false;  // it may have waited to ask again
  session_.reset();
  retry_at_ = world_.reactor.now() + Nanoseconds(world_.below(300'000));
}

void IserHost::step() {
  for (const auto& slot : slots_) {
    check_untouched(world_, slot->memory, slot->busy ? slot->lent() : 0);
  }
  if (session_ != nullptr && session_->ended()) ended();
  if (session_ == nullptr && !finishing_ && world_.reactor.now() >= retry_at_) log_in();
  if (!full_feature() || finishing_ || world_.silent()) return;
  if (world_.chance(2)) ping();
  look();
  if (world_.reactor.now() < next_) return;
  next_ = world_.reactor.now() + pace_;
  Slot& slot = *slots_[world_.below(slots_.size())];
  if (!slot.busy && !slot.abort.busy) start(slot);
}

void IserHost::look() {
  if (looking_) return;
  for (uint16_t unit = 0; unit < IserWorld::kUnits; ++unit) {
    Known& known = units_[unit];
    if (!known.changed && (known.mine || !world_.chance(5))) continue;
    looking_ = true;
    known.changed = false;
    readers_[unit]->read(
        [this, unit](const absl::StatusOr<iser::Unit>& found) { looked(unit, found); });
    return;
  }
}

void IserHost::looked(uint16_t unit, const absl::StatusOr<iser::Unit>& found) {
  looking_ = false;
  Known& known = units_[unit];
  if (!found.ok()) {
    known.changed = true;
    return;
  }
  const bool before = known.mine;
  if (known.serial.empty()) known.serial = world_.serial(target_, unit);
  known.mine = found->serial == known.serial;
  if (known.mine && known.blocks != 0 && known.blocks != found->capacity.blocks) {
    world_.moved("new size");
  }
  if (known.mine) known.blocks = found->capacity.blocks;
  if (before && !known.mine) world_.moved("another's disk");
  if (!before && known.mine) world_.moved("own disk again");
}

void IserHost::start(Slot& slot) {
  Transfer& transfer = slot.transfer;
  slot.unit = static_cast<uint16_t>(world_.below(IserWorld::kUnits));
  if (units_[slot.unit].changed || !units_[slot.unit].mine || looking_) return;
  transfer.first = static_cast<uint32_t>(world_.below(kBlocks));
  transfer.count =
      1 + static_cast<uint32_t>(world_.below(std::min(kMaxBlocks, kBlocks - transfer.first)));
  transfer.write = world_.chance(500);
  if (world_.chance(30)) transfer = {};
  BlockModel& model = models_[slot.unit];
  const uint64_t end = uint64_t{model.first()} + transfer.first + transfer.count;
  const bool there = transfer.count == 0 || end <= units_[slot.unit].blocks;
  if (!there || !model.free(transfer.first, transfer.count)) {
    return;  // its turn comes again
  }
  slot.lun = scsi::encode_lun(slot.unit);
  slot.copies = start_copy(slot);
  if (!slot.copies) model.begin(transfer, slot.blocks());
  if (slot.copies) {
    slot.direction = iser::DataDirection::kOut;
    slot.data = slot.mr->sge(kGuard, kCopyList);
  } else if (transfer.count == 0) {
    slot.cdb = {kSynchronizeCache16};
    slot.direction = iser::DataDirection::kNone;
    slot.data = {};
  } else {
    slot.cdb = iser::transfer_cdb(transfer.write, model.first() + transfer.first, transfer.count);
    slot.direction = transfer.write ? iser::DataDirection::kOut : iser::DataDirection::kIn;
    slot.data = slot.mr->sge(kGuard, transfer.count * kBlockBytes);
  }
  slot.busy = true;
  slot.began = world_.reactor.now();
  if (pace_ == Nanoseconds{})
    slot.timer.arm(world_.reactor, Nanoseconds(1'000'000 + world_.below(150'000'000)));
  session_->submit(slot);
}

bool IserHost::start_copy(Slot& slot) {
  static_assert(IserWorld::kUnits == 2);
  const Transfer& transfer = slot.transfer;
  const uint16_t from = 1 - slot.unit;
  const uint32_t first = models_[from].first() + transfer.first;
  const bool there = units_[from].mine && !units_[from].changed &&
                     uint64_t{first} + transfer.count <= units_[from].blocks;
  if (!world_.copies() || !transfer.write || transfer.count % 2 == 0 || !there ||
      !models_[from].free(transfer.first, transfer.count)) {
    return false;
  }
  models_[slot.unit].begin_copy(models_[from], transfer);
  std::array<uint8_t, kCopyList> list{};
  be::store16(&list[2], 2 * scsi::kCopyUnitSize);
  be::store32(&list[8], scsi::kCopySegmentSize);
  list[1] = 0x18;  // without an identifier
  uint8_t* unit = &list[scsi::kCopyHeaderSize];
  for (const uint16_t each : {from, slot.unit}) {
    const std::vector<uint8_t> naa = world_.naa(target_, each);
    unit[0] = 0xe4;
    unit[4] = 1;
    unit[5] = 3;
    unit[7] = static_cast<uint8_t>(naa.size());
    std::ranges::copy(naa, unit + 8);
    unit += scsi::kCopyUnitSize;
  }
  uint8_t* const segment = unit;
  segment[0] = 2;
  segment[3] = scsi::kCopySegmentSize - 4;
  segment[7] = 1;
  be::store16(segment + 10, static_cast<uint16_t>(transfer.count));
  be::store64(segment + 12, first);
  be::store64(segment + 20, first);
  std::ranges::copy(std::as_bytes(std::span(list)), slot.memory.begin() + kGuard);
  slot.cdb = {kExtendedCopy};
  be::store32(&slot.cdb[10], kCopyList);
  return true;
}

Fate IserHost::fate_of_copy(Slot& slot) {
  const scsi::Sense& sense = *slot.sense;
  const scsi::Forwarded& forwarded = sense.forwarded;
  const bool beyond =
      sense.same_code(scsi::kWrongSegment) || forwarded.asc == scsi::kLbaOutOfRange.asc;
  const bool gone = sense.same_code(scsi::kCopyUnitNotReachable);
  if (!gone && !(beyond && world_.was_cut()) && forwarded.key != scsi::SenseKey::kMediumError) {
    world_.violate("a copy ended by " + iser::describe(slot));
  }
  for (Known& known : units_) known.changed = known.changed || gone || beyond;
  world_.moved("copy aborted");
  return Fate::kUnknown;
}

void IserHost::finished(Slot& slot) {
  if (!slot.busy) world_.violate("a command ended twice");
  slot.busy = false;
  slot.timer.cancel();
  Fate fate = Fate::kUnknown;
  if (slot.lost || slot.status == scsi::Status::kTaskAborted) {
    fate = Fate::kUnknown;
  } else if (slot.good()) {
    fate = Fate::kDone;
    if (world_.admission().settled_refusal(number_, world_.reactor.now())) {
      world_.violate("an initiator that is not admitted is served");
    }
    if (slot.transferred != slot.data.length) world_.violate("a command moved too little");
    if (slot.copies) world_.moved("copy");
  } else if (slot.sense && slot.sense->key == scsi::SenseKey::kUnitAttention) {
    fate = Fate::kNotDone;
    constexpr uint8_t kChanged = 0x3f;
    const bool changed =
        slot.sense->asc == kChanged || slot.sense->same_code(scsi::kCapacityChanged);
    if (changed) units_[slot.unit].changed = true;
  } else if (slot.copies && slot.sense && slot.sense->key == scsi::SenseKey::kCopyAborted) {
    fate = fate_of_copy(slot);
  } else if (slot.sense && slot.sense->same_code(scsi::kLbaOutOfRange) && world_.was_cut()) {
    fate = Fate::kNotDone;
    world_.moved("beyond the end");
  } else if (!slot.sense || slot.sense->key != scsi::SenseKey::kMediumError) {
    world_.violate("a command ended by " + iser::describe(slot));
  }
  if (slot.copies) {
    models_[slot.unit].end_copy(models_[1 - slot.unit], slot.transfer, fate);
  } else {
    models_[slot.unit].end(slot.transfer, slot.blocks(), fate);
  }
  std::ranges::fill(slot.memory, kIdle);
  if (slot.lost) return;
  ++completed;
  ++world_.commands;
}

void IserHost::overdue(Slot& slot) {
  slot.abort.function = TaskFunction::kAbortTask;
  slot.abort.command = &slot;
  if (full_feature() && !slot.abort.busy && session_->manage(slot.abort)) {
    slot.abort.busy = true;
    slot.abort.began = world_.reactor.now();
    return;
  }
  // It waits for an MR, or for others' aborts.
  slot.timer.arm(world_.reactor, Nanoseconds(1'000'000 + world_.below(10'000'000)));
}

void IserHost::ping() {
  if (pinging_) return;
  pinging_ = true;
  std::string data(world_.below(200), 'p');
  for (char& byte : data) byte = static_cast<char>(world_.below(256));
  session_->ping(data, [this, data](absl::StatusOr<std::string> answer) {
    pinging_ = false;
    if (answer.ok() && *answer != data) world_.violate("a ping brought other data back");
  });
}

void IserHost::kill() {
  if (session_ == nullptr || session_->ended()) return;
  world_.moved("drop");
  session_->abort("dropped by its initiator");
}

void IserHost::log_out() {
  if (!full_feature()) return;
  world_.moved("log out");
  session_->close(nullptr);
}

void IserHost::manage() {
  if (!full_feature() || function_->busy) return;
  world_.moved("function");
  constexpr TaskFunction kFunctions[] = {TaskFunction::kAbortTaskSet, TaskFunction::kClearTaskSet,
                                         TaskFunction::kLogicalUnitReset,
                                         TaskFunction::kTargetWarmReset};
  function_->function = kFunctions[world_.below(std::size(kFunctions))];
  function_->lun = scsi::encode_lun(static_cast<uint16_t>(world_.below(IserWorld::kUnits)));
  function_->busy = session_->manage(*function_);
}

Nanoseconds IserHost::oldest_command() const {
  Nanoseconds oldest = Nanoseconds::max();
  for (const auto& slot : slots_) {
    if (slot->busy) oldest = std::min(oldest, slot->began);
  }
  return oldest;
}

bool IserHost::idle() const {
  return !looking_ && !pinging_ && !function_->busy &&
         std::ranges::none_of(slots_,
                              [](const auto& slot) { return slot->busy || slot->abort.busy; });
}

std::string IserHost::state() const {
  std::string text = session_ == nullptr ? "no session" : full_feature() ? "" : "not logged in";
  if (full_feature()) text = "a window of " + std::to_string(session_->window()) + " commands";
  text += "; " + describe(*pool_);
  if (pinging_) text += "; pings";
  if (function_->busy) {
    text += "; task management function " + std::to_string(uint32_t(function_->function));
  }
  for (const auto& slot : slots_) {
    if (slot->busy)
      text += "; unit " + std::to_string(slot->unit) + ": " + describe(slot->transfer);
    if (slot->abort.busy) text += ", aborted";
  }
  for (uint16_t unit = 0; unit < IserWorld::kUnits; ++unit) {
    if (!units_[unit].mine) text += "; unit " + std::to_string(unit) + " is another's";
  }
  return text;
}

void IserHost::close() {
  if (!full_feature()) {
    if (session_ != nullptr) session_->abort("closed while it logs in");
    return;
  }
  // The answer to a ping has the current window.
  session_->ping("window", [this](const absl::StatusOr<std::string>& answer) {
    if (!answer.ok()) return;
    if (session_->window() != iser_target::kQueueDepth) {
      world_.violate("a window of " + std::to_string(session_->window()) + " commands is left");
    }
    session_->close(nullptr);
  });
}

void IserHost::check_store() {
  for (uint16_t unit = 0; unit < IserWorld::kUnits; ++unit) {
    models_[unit].check([&](uint32_t number) { return world_.block(target_, unit, number); });
  }
}

void IserHost::check_resources() { check_whole(world_, *pool_); }

}  // namespace mrpool::sim
