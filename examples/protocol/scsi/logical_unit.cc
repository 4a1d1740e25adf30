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

std::optional<Sense> Nexus::take_attention() {
  const std::lock_guard lock(mutex_);
  if (attentions_.empty()) return std::nullopt;
  const Sense attention = attentions_.front();
  attentions_.erase(attentions_.begin());
  view_.attention = !attentions_.empty();
  return attention;
}

void Nexus::clear(const Sense& attention) {
  const std::lock_guard lock(mutex_);
  std::erase(attentions_, attention);
  view_.attention = !attentions_.empty();
}

LogicalUnit::LogicalUnit(UnitFacts facts, SaveReservations save)
    : facts_(std::move(facts)),
      default_mode_{.write_cache = facts_.volatile_cache},
      save_(std::move(save)),
      mode_(default_mode_),
      reservations_(save_ != nullptr) {}

ModeState LogicalUnit::mode() const {
  const std::lock_guard lock(mutex_);
  return mode_;
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
  for (size_t i = 0; i < kReservedClasses; ++i) {
    nexus.view_.allowed[i] = reservations_.allows(nexus.port(), Reserved(i));
  }
  const std::lock_guard inner(nexus.mutex_);
  nexus.view_.attention = !nexus.attentions_.empty();
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
  raise_locked(attention);  // and so marks them
}

const Operation* LogicalUnit::supported(const Operation* operation) const {
  if (operation != nullptr && operation->command == Command::kUnmap && !facts_.thin) return nullptr;
  return operation;
}

Plan LogicalUnit::begin(Nexus& nexus, const Cdb& cdb, std::vector<uint8_t>& data_in) {
  data_in.clear();
  const Nexus::View& seen = view(nexus);
  const Operation* operation = supported(find_operation(cdb));
  const Command command = operation != nullptr ? operation->command : Command::kTestUnitReady;
  const bool passes_attention =
      operation != nullptr && (command == Command::kInquiry || command == Command::kReportLuns ||
                               command == Command::kRequestSense);
  if (!passes_attention && seen.attention) {
    if (const auto attention = nexus.take_attention()) return check(*attention);
  }
  if (operation == nullptr) {
    // A known operation code with an unknown service action is a wrong field.
    return check(has_service_actions(cdb[0]) ? kInvalidFieldInCdb.at_cdb(1)
                                             : kInvalidOpcode.at_cdb(0));
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
  Reservations next = [this] {
    const std::lock_guard lock(mutex_);
    return reservations_;
  }();
  const bool kept_before = next.aptpl();
  Reservations::Outcome outcome = next.out(port, cdb, list);
  const Plan answer{.status = outcome.status, .sense = outcome.sense};
  if (!outcome.changed) return {.plan = answer};
  // What must survive power loss is durable before anybody hears of it.
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
