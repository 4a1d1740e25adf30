#include "examples/protocol/scsi/logical_unit.h"

#include <algorithm>

#include "examples/protocol/scsi/unit_commands.h"

namespace mrpool::scsi {

void Nexus::raise(const Sense& attention) {
  constexpr uint8_t kReset = 0x29;
  const std::lock_guard lock(mutex_);
  if (attention.asc == kReset) attentions_.clear();
  if (std::ranges::find(attentions_, attention) == attentions_.end()) {
    attentions_.push_back(attention);
  }
  stale_.store(true, std::memory_order_release);
}

void Nexus::raise_until_seen(const Sense& attention) {
  const std::lock_guard lock(mutex_);
  unseen_.push_back(attention);
  stale_.store(true, std::memory_order_release);
}

std::optional<Sense> Nexus::take_attention(const Sense* looks_at) {
  const std::lock_guard lock(mutex_);
  if (!attentions_.empty()) {
    const Sense attention = attentions_.front();
    attentions_.erase(attentions_.begin());
    view_.attention = pending_locked();
    return attention;
  }
  for (const Sense& attention : unseen_) {
    if (looks_at == nullptr || attention != *looks_at) return attention;
  }
  return std::nullopt;
}

void Nexus::seen(const Sense& attention) {
  const std::lock_guard lock(mutex_);
  std::erase(unseen_, attention);
  view_.attention = pending_locked();
}

bool Nexus::waits_to_be_seen() const {
  const std::lock_guard lock(mutex_);
  return !unseen_.empty();
}

void Nexus::clear(const Sense& attention) {
  const std::lock_guard lock(mutex_);
  std::erase(attentions_, attention);
  view_.attention = pending_locked();
}

LogicalUnit::LogicalUnit(UnitFacts facts, SaveReservations save)
    : facts_(std::move(facts)),
      default_mode_{.write_cache = facts_.volatile_cache},
      save_(std::move(save)),
      mode_(default_mode_),
      reservations_(save_ != nullptr, facts_.relative_port),
      blocks_(facts_.blocks) {}

ModeState LogicalUnit::mode() const {
  const std::lock_guard lock(mutex_);
  return mode_;
}

uint64_t LogicalUnit::blocks() const {
  const std::lock_guard lock(mutex_);
  return blocks_;
}

void LogicalUnit::resize(uint64_t blocks) {
  const std::lock_guard lock(mutex_);
  if (blocks == blocks_) return;
  blocks_ = blocks;
  raise_locked(kCapacityChanged);  // and so marks them
}

AccessState LogicalUnit::access() const {
  const std::lock_guard lock(mutex_);
  return access_;
}

void LogicalUnit::set_access(AccessState state, AccessChange change, const Nexus* by) {
  const std::lock_guard lock(mutex_);
  access_change_ = change;
  if (state == access_) return;
  access_ = state;
  raise_locked(kAccessStateChanged, by);
  mark_all_stale();
}

void LogicalUnit::configure_access(AccessState state) {
  {
    const std::lock_guard lock(mutex_);
    if (std::exchange(configured_access_, state) == state) return;
  }
  set_access(state);
}

void LogicalUnit::take_over(LogicalUnit& before) {
  const std::scoped_lock reserving(reserving_, before.reserving_);
  const std::scoped_lock lock(mutex_, before.mutex_);
  reservations_ = before.reservations_;
  reservations_.set_relative_port(facts_.relative_port);
  before.replaced_ = true;
  mark_all_stale();
}

void LogicalUnit::attach(Nexus& nexus) {
  const std::lock_guard lock(mutex_);
  nexuses_.push_back(&nexus);
  nexus.raise(kPowerOn);
}

void LogicalUnit::detach(Nexus& nexus) {
  const std::lock_guard lock(mutex_);
  std::erase(nexuses_, &nexus);
}

const Nexus::View& LogicalUnit::view(Nexus& nexus) {
  if (!nexus.stale_.load(std::memory_order_acquire)) [[likely]]
    return nexus.view_;
  // The mark goes first: a change after it sets the mark again.
  nexus.stale_.store(false, std::memory_order_relaxed);
  const std::lock_guard lock(mutex_);
  nexus.view_.mode = mode_;
  nexus.view_.stopped = stopped_;
  nexus.view_.access = access_;
  nexus.view_.blocks = blocks_;
  if (std::exchange(nexus.view_.resets, resets_) != resets_) nexus.copies_.forget_ended();
  for (size_t i = 0; i < kReservedClasses; ++i) {
    nexus.view_.allowed[i] = reservations_.allows(nexus.port(), Reserved(i));
  }
  const std::lock_guard inner(nexus.mutex_);
  nexus.view_.attention = nexus.pending_locked();
  return nexus.view_;
}

void LogicalUnit::raise_locked(const Sense& attention, const Nexus* but) {
  for (Nexus* nexus : nexuses_) {
    if (nexus != but) nexus->raise(attention);
  }
}

void LogicalUnit::mark_all_stale() {
  for (Nexus* nexus : nexuses_) nexus->stale_.store(true, std::memory_order_release);
}

void LogicalUnit::reset(const Sense& attention) {
  const std::lock_guard lock(mutex_);
  mode_ = default_mode_;
  stopped_ = false;
  ++resets_;
  raise_locked(attention);  // and so marks them
}

const Operation* LogicalUnit::supported(const Operation* operation) const {
  if (operation == nullptr) return nullptr;
  switch (operation->command) {
    case Command::kUnmap:
      return facts_.thin ? operation : nullptr;
    case Command::kWriteLong10:
    case Command::kWriteLong16:
      return facts_.marks ? operation : nullptr;
    case Command::kSetPortGroups:
      return facts_.explicit_alua ? operation : nullptr;
    default:
      return operation;
  }
}

namespace {

// The attention about which a command itself informs its initiator; null: none.
const Sense* looks_at(Command command) {
  if (command == Command::kInquiry) return &kInquiryDataChanged;
  const bool capacity = command == Command::kReadCapacity10 || command == Command::kReadCapacity16;
  return capacity ? &kCapacityChanged : nullptr;
}

}  // namespace

Plan LogicalUnit::begin(Nexus& nexus, const Cdb& cdb, std::vector<uint8_t>& data_in) {
  data_in.clear();
  const Nexus::View& seen = view(nexus);
  const Operation* operation = supported(find_operation(cdb));
  const Command command = operation != nullptr ? operation->command : Command::kTestUnitReady;
  const bool passes_attention =
      operation != nullptr && (command == Command::kInquiry || command == Command::kReportLuns ||
                               command == Command::kRequestSense);
  if (seen.attention) {
    const Sense* subject = looks_at(command);
    const auto attention = passes_attention ? std::nullopt : nexus.take_attention(subject);
    if (attention) return check(*attention);
    if (subject != nullptr) nexus.seen(*subject);
  }
  if (operation == nullptr) {
    // A known operation code with an unknown service action is a wrong field.
    return check(has_service_actions(cdb[0]) ? kInvalidFieldInCdb.at_cdb(1)
                                             : kInvalidOpcode.at_cdb(0));
  }
  if (seen.access != AccessState::kOptimized) [[unlikely]] {
    if (const auto refused = refusal(seen.access, command)) return check(*refused);
  }
  if (!seen.allowed[size_t(operation->reserved)]) {
    return {.status = Status::kReservationConflict};
  }
  if ((cdb[operation->length - 1] & 0x04) != 0) {
    return check(kInvalidFieldInCdb.at_cdb(uint16_t(operation->length - 1)));  // NACA
  }
  if (operation->needs_medium && seen.stopped) return check(kStopped);
  return (this->*handler_of(command).begin)({nexus, *operation, cdb, data_in});
}

Plan LogicalUnit::finish(Nexus& nexus, const Cdb& cdb, std::span<const uint8_t> list,
                         std::vector<Range>& ranges) {
  const Operation* operation = supported(find_operation(cdb));
  const Handler* handler = operation == nullptr ? nullptr : &handler_of(operation->command);
  if (handler == nullptr || handler->finish == nullptr) return check(kInvalidOpcode.at_cdb(0));
  return (this->*handler->finish)({nexus, cdb, list, ranges});
}

LogicalUnit::ReserveAnswer LogicalUnit::reserve_out(const std::string& port, const Cdb& cdb,
                                                    std::span<const uint8_t> list) {
  const std::lock_guard one(reserving_);
  if (replaced_) return {.plan = {.status = Status::kBusy}};
  Reservations next = [this] {
    const std::lock_guard lock(mutex_);
    return reservations_;
  }();
  const bool kept_before = next.aptpl();
  Reservations::Outcome outcome = next.out(port, cdb, list);
  const Plan answer{.status = outcome.status, .sense = outcome.sense};
  if (!outcome.changed) return {.plan = answer};
  // What must survive power loss is durable before any answer about it.
  if (save_ != nullptr && (next.aptpl() || kept_before) && !save_(next.serialize()).ok()) {
    return {.plan = check(kInternalFailure)};
  }
  const std::lock_guard lock(mutex_);
  reservations_ = std::move(next);
  for (const Reservations::Notice& notice : outcome.notices) {
    for (Nexus* other : nexuses_) {
      if (other->port() == notice.port) other->raise(notice.attention);
    }
  }
  mark_all_stale();
  return {.plan = answer, .preempted = std::move(outcome.abort_tasks_of)};
}

}  // namespace mrpool::scsi
