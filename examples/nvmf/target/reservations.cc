#include "examples/nvmf/target/reservations.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <optional>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "examples/storage/state_file.h"

namespace mrpool::nvmf_target {

using nvme::AcquireAction;
using nvme::ChangePersistence;
using nvme::IoOpcode;
using nvme::le;
using nvme::RegisterAction;
using nvme::ReleaseAction;
using nvme::Status;
using nvme::with_dnr;
using reservation::Outcome;
using reservation::Registration;
using reservation::Registry;
using reservation::Result;
using reservation::Type;

namespace {

// By NVMe's numbers, from 1, [base] 7.2.
constexpr Type kTypes[] = {Type::kWriteExclusive,
                           Type::kExclusiveAccess,
                           Type::kWriteExclusiveRegistrantsOnly,
                           Type::kExclusiveAccessRegistrantsOnly,
                           Type::kWriteExclusiveAllRegistrants,
                           Type::kExclusiveAccessAllRegistrants};

std::optional<Type> type_of(uint32_t cdw10) {
  const uint32_t number = nvme::reservation_type(cdw10);
  if (number == 0 || number > std::size(kTypes)) return std::nullopt;
  return kTypes[number - 1];
}

uint8_t number_of(Type type) {
  return uint8_t(std::ranges::find(kTypes, type) - std::begin(kTypes) + 1);
}

bool valid_registrant(std::string_view who) {
  return who.size() == 2 * sizeof(HostId) &&
         who.find_first_not_of("0123456789abcdef") == std::string_view::npos &&
         who.find_first_not_of('0') != std::string_view::npos;
}

Status status_of(Result result) {
  switch (result) {
    case Result::kDone:
      return Status::kSuccess;
    case Result::kConflict:
      return with_dnr(Status::kReservationConflict);
    case Result::kFull:
      return with_dnr(Status::kInternal);
    case Result::kWrongType:
    case Result::kNoKey:
      break;
  }
  return with_dnr(Status::kInvalidField);
}

}  // namespace

std::string registrant(const HostId& host) {
  return absl::BytesToHexString({reinterpret_cast<const char*>(host.data()), host.size()});
}

Reservations::Reservations(Save save, Registry kept, Keeps keeps)
    : save_(std::move(save)),
      keeps_(keeps),
      state_(std::move(kept)),
      held_(state_.type() ? ++changes_ : 0) {}

absl::StatusOr<std::shared_ptr<Reservations>> Reservations::open(const std::string& path) {
  const absl::StatusOr<std::string> content = storage::read_state(path);
  if (!content.ok()) return content.status();
  std::optional<Registry> kept = Registry::parse(*content, &valid_registrant);
  if (!kept) {
    return absl::DataLossError(absl::StrCat(
        path, ": the kept reservations are unreadable; remove the file to go on without them"));
  }
  return std::make_shared<Reservations>(
      [path](const std::string& state) { return storage::write_state(path, state); },
      *std::move(kept));
}

Registry Reservations::copy() const {
  const std::lock_guard lock(mutex_);
  return state_;
}

Reservations::Rights Reservations::rights(const HostId& host) const {
  const std::string who = registrant(host);
  const std::lock_guard lock(mutex_);
  return {.held = held_.load(std::memory_order_relaxed),
          .read = state_.allows(who, reservation::Access::kRead),
          .write = state_.allows(who, reservation::Access::kWrite)};
}

bool Reservations::persistent() const {
  const std::lock_guard lock(mutex_);
  return state_.persistent();
}

// What must survive power loss is durable before any answer about it.
Status Reservations::publish(Registry next, bool kept_before) {
  if (save_ != nullptr && keeps_ == Keeps::kAll) {
    // Another gateway may be the owner now: the host asks there.
    if (!save_(next.serialize_all()).ok()) return Status::kAnaInaccessible;
  } else if (save_ != nullptr && (next.persistent() || kept_before) &&
             !save_(next.serialize()).ok()) {
    return Status::kInternal;
  }
  install(std::move(next));
  return Status::kSuccess;
}

absl::Status Reservations::take_over(std::string_view kept) {
  std::optional<Registry> next = Registry::parse(kept, &valid_registrant);
  if (!next) return absl::DataLossError("the kept reservations are unreadable");
  const std::lock_guard one(changing_);
  install(*std::move(next));
  return absl::OkStatus();
}

void Reservations::install(Registry next) {
  const std::lock_guard lock(mutex_);
  state_ = std::move(next);
  ++changes_;
  // Release: a queue that sees the number finds the state under the mutex.
  held_.store(state_.type() ? changes_ : 0, std::memory_order_release);
}

Status Reservations::set_persistent(bool persistent) {
  if (!can_persist()) return persistent ? with_dnr(Status::kInvalidField) : Status::kSuccess;
  const std::lock_guard one(changing_);
  Registry next = copy();
  if (next.persistent() == persistent) return Status::kSuccess;
  next.set_persistent(persistent);
  return publish(std::move(next), true);
}

Reservations::Answer Reservations::run(const ReservationRequest& request, const HostId& host) {
  // Hosts without an identifier cannot be distinguished.
  if (host == HostId{}) return {.status = with_dnr(Status::kHostIdInconsistent)};
  const std::lock_guard one(changing_);
  Registry next = copy();
  const bool kept_before = next.persistent();
  Outcome outcome;
  Answer answer{.status = decide(request, registrant(host), next, outcome)};
  if (!ok(answer.status) || !outcome.changed) return answer;
  answer.status = publish(std::move(next), kept_before);
  if (!ok(answer.status)) return answer;
  answer.notices = std::move(outcome.notices);
  answer.fenced = std::move(outcome.fenced);
  return answer;
}

Status Reservations::register_host(const ReservationRequest& request, const std::string& who,
                                   Registry& state, Outcome& outcome) const {
  const ChangePersistence persistence = nvme::change_persistence(request.cdw10);
  if (persistence == ChangePersistence::kReserved ||
      (persistence == ChangePersistence::kSet && !can_persist())) {
    return with_dnr(Status::kInvalidField);
  }
  const uint64_t key = request.keys.other;
  const Registration* own = state.find(who);
  const bool ignore = (request.cdw10 & nvme::kIgnoreExistingKey) != 0;
  const bool proven = ignore || (own != nullptr && own->key == request.keys.current);
  switch (RegisterAction(request.cdw10 & nvme::kReservationActionMask)) {
    case RegisterAction::kRegister:
      if (key == 0) return with_dnr(Status::kInvalidField);
      if (own != nullptr && own->key != key) return with_dnr(Status::kReservationConflict);
      outcome = state.set_key(who, key);
      break;
    case RegisterAction::kUnregister:
      if (own == nullptr || !proven) return with_dnr(Status::kReservationConflict);
      outcome = state.leave(who);
      break;
    case RegisterAction::kReplace:  // one that ignores keys also registers
      if (key == 0) return with_dnr(Status::kInvalidField);
      if (!proven) return with_dnr(Status::kReservationConflict);
      outcome = state.set_key(who, key);
      break;
    default:
      return with_dnr(Status::kInvalidField);
  }
  if (outcome.changed && persistence != ChangePersistence::kNone) {
    state.set_persistent(persistence == ChangePersistence::kSet);
  }
  return status_of(outcome.result);
}

Status Reservations::decide(const ReservationRequest& request, const std::string& who,
                            Registry& state, Outcome& outcome) const {
  if (request.opcode == IoOpcode::kReservationRegister) {
    return register_host(request, who, state, outcome);
  }
  const bool acquire = request.opcode == IoOpcode::kReservationAcquire;
  const uint32_t action = request.cdw10 & nvme::kReservationActionMask;
  const uint32_t last =
      acquire ? uint32_t(AcquireAction::kPreemptAndAbort) : uint32_t(ReleaseAction::kClear);
  if (action > last || (request.cdw10 & nvme::kIgnoreExistingKey) != 0) {
    return with_dnr(Status::kInvalidField);
  }
  const Registration* own = state.find(who);
  if (own == nullptr || own->key != request.keys.current) {
    return with_dnr(Status::kReservationConflict);
  }
  const std::optional<Type> type = type_of(request.cdw10);
  if (!acquire) {
    outcome = ReleaseAction(action) == ReleaseAction::kClear ? state.clear(who)
                                                             : state.release(who, type);
  } else if (AcquireAction(action) == AcquireAction::kAcquire) {
    outcome = state.reserve(who, type);
  } else {
    outcome = state.preempt(who, request.keys.other, type,
                            AcquireAction(action) == AcquireAction::kPreemptAndAbort);
  }
  return status_of(outcome.result);
}

std::vector<std::byte> Reservations::report() const {
  const Registry state = copy();
  nvme_resv_status head{};
  head.gen = le(state.generation());
  head.rtype = state.type() ? number_of(*state.type()) : 0;
  const uint16_t count = le(uint16_t(state.registrations().size()));
  std::memcpy(head.regctl, &count, sizeof count);
  head.ptpls = state.persistent() ? 1 : 0;
  const auto bytes = nvme::bytes_of(head);
  std::vector<std::byte> data(bytes.begin(), bytes.end());
  for (const Registration& each : state.registrations()) {
    nvme_registered_ctrl_ext one{};
    // Controllers are made as hosts come: none has a number that lasts, [base] 7.4.
    one.cntlid = le(uint16_t{0xffff});
    one.rcsts = state.holds(each.who) ? 1 : 0;
    one.rkey = le(each.key);
    const std::string host = absl::HexStringToBytes(each.who);
    std::copy_n(host.begin(), std::min(host.size(), sizeof one.hostid), std::begin(one.hostid));
    const auto more = nvme::bytes_of(one);
    data.insert(data.end(), more.begin(), more.end());
  }
  return data;
}

}  // namespace mrpool::nvmf_target
