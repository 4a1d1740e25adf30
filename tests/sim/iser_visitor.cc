#include "tests/sim/iser_visitor.h"

#include <algorithm>
#include <utility>

#include "examples/iser/initiator/attempts.h"
#include "examples/iser/initiator/client.h"
#include "examples/protocol/iscsi/discovery.h"
#include "examples/protocol/scsi/target_device.h"
#include "tests/sim/blocks.h"

namespace mrpool::sim {

namespace {

constexpr uint32_t kSlots = 6;
constexpr uint32_t kRounds = 8;
constexpr uint32_t kMost = 24 << 10;  // bytes of a command

}  // namespace

struct IserVisitor::Slot final : iser::Command {
  explicit Slot(IserVisitor& visitor)
      : Command([](Command& self) {
          auto& slot = static_cast<Slot&>(self);
          slot.owner.finished(slot);
        }),
        owner(visitor),
        buffer(*load::Buffer::create(*visitor.pd_, guarded(kMost))) {
    std::ranges::fill(memory(), kIdle);
  }
  std::span<std::byte> memory() const { return buffer.bytes().first(guarded(kMost)); }

  IserVisitor& owner;
  load::Buffer buffer;
  bool busy = false;
};

IserVisitor::IserVisitor(Simulation& simulation, Device& device, IserVisitorOptions options)
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
  auto page = load::Buffer::create(*pd_, iser::UnitReader::kBuffer);
  if (!page.ok()) simulation.violate(page.status().ToString());
  page_ = std::make_unique<load::Buffer>(*std::move(page));
  for (uint32_t i = 0; i < kSlots; ++i) slots_.push_back(std::make_unique<Slot>(*this));
}

IserVisitor::~IserVisitor() = default;

void IserVisitor::visit() {
  since_ = simulation_.reactor.now();
  failed_ = 0;
  left_ = moving_ = went_well_ = false;
  rounds_ = kRounds;
  discovery_ = simulation_.chance(200);
  simulation_.moved(discovery_ ? "discovery" : "visit");
  iser::SessionOptions options{.address = {"uiwarp", "127.0.0.1", 3260, ""}};
  options.depth = 1 + static_cast<uint32_t>(simulation_.below(kSlots));
  options.remote_invalidation = simulation_.chance(800);
  options.send_first_burst = simulation_.chance(500);
  options.timeout = options.command_timeout = options_.patience;
  options.login.initiator = options_.initiator;
  options.login.target = discovery_ ? std::string() : options_.target;
  options.login.isid = {0x80, 0, 0, 0, 0, 1};
  options.login.limits.initial_r2t = simulation_.chance(500);
  options.login.limits.immediate_data = simulation_.chance(800);
  if (!options_.chap.user.empty()) options.login.chap = options_.chap;
  options.login.random = [&simulation = simulation_](std::span<uint8_t> out) {
    for (uint8_t& byte : out) byte = static_cast<uint8_t>(simulation.below(256));
  };
  session_ = std::make_unique<iser::Session>(simulation_.reactor, device_, *pd_, *pool_,
                                             std::move(options));
  ++under_way_;
  session_->start([this](const absl::Status& status) { ready(status); });
}

void IserVisitor::ready(const absl::Status& status) {
  --under_way_;
  simulation_.moved(status.ok() ? "connected" : "not connected");
  if (!status.ok() && status.message().empty()) simulation_.violate("no reason is given");
  if (!status.ok()) return leave(false);
  if (discovery_) return ask();
  ++under_way_;
  reader_ = std::make_unique<iser::UnitReader>(*session_, simulation_.reactor, scsi::encode_lun(0),
                                               page_->sge());
  reader_->read([this](const absl::StatusOr<iser::Unit>& unit) { looked(unit); });
}

void IserVisitor::ask() {
  using std::string_literals::operator""s;
  ++under_way_;
  session_->text("SendTargets=All\0"s, [this](const absl::StatusOr<std::string>& text) {
    --under_way_;
    leave(text.ok() && iscsi::parse_targets(*text).has_value());
  });
}

void IserVisitor::looked(const absl::StatusOr<iser::Unit>& unit) {
  --under_way_;
  if (!unit.ok()) return leave(false);
  const iser::Capacity& capacity = unit->capacity;
  if (capacity.block_size < iser::kSmallestUnitBlock || capacity.blocks == 0 ||
      capacity.blocks > uint64_t{INT64_MAX} / capacity.block_size) {
    simulation_.violate("a unit of an impossible size");
  }
  unit_ = *unit;
  moving_ = true;
  simulation_.moved("data");
}

// Rounds of commands, sometimes together with other requests.
void IserVisitor::move_data() {
  if (rounds_ == 0) return leave(failed_ == 0);
  --rounds_;
  options_.begin();
  if (simulation_.chance(300)) {
    ++under_way_;
    session_->ping("are you there", [this](const absl::StatusOr<std::string>& answer) {
      --under_way_;
      if (!answer.ok()) ++failed_;
    });
  }
  for (const auto& slot : slots_) start(*slot);
}

void IserVisitor::start(Slot& slot) {
  const iser::Capacity& capacity = unit_.capacity;
  if (capacity.block_size > kMost) return;
  const uint64_t most = std::min<uint64_t>(kMost / capacity.block_size, capacity.blocks);
  const auto count = static_cast<uint32_t>(1 + simulation_.below(most));
  const bool write = !options_.reads_only && simulation_.chance(500);
  slot.lun = scsi::encode_lun(0);
  slot.cdb = iser::transfer_cdb(write, simulation_.below(capacity.blocks - count + 1), count);
  slot.direction = write ? iser::DataDirection::kOut : iser::DataDirection::kIn;
  slot.data = slot.buffer.sge(kGuard, count * capacity.block_size);
  slot.busy = true;
  ++under_way_;
  session_->submit(slot);
}

void IserVisitor::finished(Slot& slot) {
  if (!slot.busy) simulation_.violate("a command ended twice");
  slot.busy = false;
  --under_way_;
  if (options_.counted) ++simulation_.commands;
  simulation_.note(static_cast<uint64_t>(slot.status));
  if (!slot.lost && slot.transferred > slot.data.length) {
    simulation_.violate("more was moved than there was room for");
  }
  if (iser::describe(slot).empty()) simulation_.violate("no reason is given");
  if (slot.good() || simulation_.planted(Plant::kEarlyAnswer)) options_.done();
  const bool whole =
      slot.good() && iser::check_moved(slot.data.length, slot.transferred, slot.overflow).ok();
  if (!whole) ++failed_;
  std::ranges::fill(slot.memory(), kIdle);
}

void IserVisitor::leave(bool well) {
  if (left_) return;
  left_ = true;
  moving_ = false;
  went_well_ = well;
  session_->close(nullptr);
}

void IserVisitor::step() {
  for (const auto& slot : slots_) {
    check_untouched(simulation_, slot->memory(), slot->busy ? slot->data.length : 0);
  }
  if (session_ == nullptr) return;
  if (session_->ended()) return end();
  if (moving_ && under_way_ == 0) move_data();
}

void IserVisitor::end() {
  if (session_->error().ok() || session_->error().message().empty()) {
    simulation_.violate("a session ends without a reason");
  }
  if (under_way_ != 0) simulation_.violate("something was never answered");
  reader_.reset();
  session_.reset();
  pool_->repair();
}

void IserVisitor::check_resources() { check_whole(simulation_, *pool_); }

std::string IserVisitor::state() const {
  const char* const phase = session_ == nullptr ? "at home"
                            : left_             ? "leaves"
                            : moving_           ? "moves data"
                                                : "logs in";
  return std::string(phase) + "; " + std::to_string(under_way_) + " under way; " + describe(*pool_);
}

}  // namespace mrpool::sim
