#include "examples/protocol/scsi/reservations.h"

#include <algorithm>

#include "examples/base/big_endian.h"

namespace mrpool::scsi {
using reservation::Access;
using reservation::Event;
using reservation::Registration;
using reservation::Result;

namespace {

constexpr size_t kParameterListSize = 24;

enum OutAction : uint8_t {
  kRegister = 0,
  kReserve = 1,
  kRelease = 2,
  kClear = 3,
  kPreempt = 4,
  kPreemptAndAbort = 5,
  kRegisterAndIgnore = 6,
  kRegisterAndMove = 7,
};

Reservations::Outcome conflict() { return {.status = Status::kReservationConflict}; }
Reservations::Outcome illegal(const Sense& sense) {
  return {.status = Status::kCheckCondition, .sense = sense};
}

void append16(std::vector<uint8_t>& to, uint16_t value) {
  to.resize(to.size() + 2);
  be::store16(to.data() + to.size() - 2, value);
}
void append32(std::vector<uint8_t>& to, uint32_t value) {
  to.resize(to.size() + 4);
  be::store32(to.data() + to.size() - 4, value);
}
void append64(std::vector<uint8_t>& to, uint64_t value) {
  to.resize(to.size() + 8);
  be::store64(to.data() + to.size() - 8, value);
}

// A TransportID of an iSCSI initiator port, format 01b (SPC-4 §7.6.4.6): the name with its ISID.
std::vector<uint8_t> transport_id(std::string_view port) {
  std::vector<uint8_t> id(4);
  id[0] = 0x45;
  id.insert(id.end(), port.begin(), port.end());
  id.push_back(0);
  while (id.size() % 4 != 0 || id.size() < 24) id.push_back(0);
  be::store16(&id[2], uint16_t(id.size() - 4));
  return id;
}

// The port that a TransportID of that format names, written as ports are here: small hexadecimal
// digits. Nothing for what no initiator port can be called.
std::optional<std::string> parse_transport_id(std::span<const uint8_t> id) {
  constexpr uint8_t kIscsiPort = 0x45;  // FORMAT CODE 01b, PROTOCOL IDENTIFIER 5
  constexpr size_t kMaxName = 223;
  if (id.size() < 24 || id[0] != kIscsiPort) return std::nullopt;
  const size_t length = be::load16(&id[2]);
  if (length > id.size() - 4) return std::nullopt;
  const auto text = id.subspan(4, length);
  std::string port(text.begin(), std::ranges::find(text, uint8_t{0}));
  for (char& c : port) {
    if (c >= 'A' && c <= 'Z') c = char(c - 'A' + 'a');
  }
  constexpr std::string_view kSeparator = ",i,0x";
  constexpr size_t kIsidDigits = 12;
  const size_t name = port.find(kSeparator);
  if (name == std::string::npos || name == 0 || name > kMaxName) return std::nullopt;
  // No spaces and nothing below: they would end a word of the kept state.
  if (std::ranges::any_of(port, [](char c) { return uint8_t(c) <= ' '; })) return std::nullopt;
  const std::string_view isid = std::string_view(port).substr(name + kSeparator.size());
  if (isid.size() != kIsidDigits ||
      isid.find_first_not_of("0123456789abcdef") != std::string_view::npos) {
    return std::nullopt;
  }
  return port;
}

const Sense& attention_of(Event event) {
  switch (event) {
    case Event::kRegistrationPreempted:
      return kRegistrationsPreempted;
    case Event::kReservationReleased:
      return kReservationsReleased;
    case Event::kReservationPreempted:
      break;
  }
  return kReservationsPreempted;
}

// `wrong_type`: what a type that does not fit is called where it was asked for.
Reservations::Outcome outcome_of(reservation::Outcome found, const Sense& wrong_type) {
  Reservations::Outcome outcome;
  switch (found.result) {
    case Result::kDone:
      break;
    case Result::kConflict:
      return conflict();
    case Result::kFull:
      return illegal(kInsufficientRegistrations);
    case Result::kWrongType:
      return illegal(wrong_type);
    case Result::kNoKey:
      return illegal(kInvalidFieldInParameters.at_parameter(8));
  }
  outcome.changed = found.changed;
  outcome.abort_tasks_of = std::move(found.fenced);
  for (reservation::Notice& notice : found.notices) {
    outcome.notices.push_back({std::move(notice.who), attention_of(notice.event)});
  }
  return outcome;
}

Access access_of(Reserved reserved) {
  switch (reserved) {
    case Reserved::kAllowedAsRead:
      return Access::kRead;
    case Reserved::kConflict:
      return Access::kWrite;
    case Reserved::kAllowed:
    case Reserved::kDecidesItself:
      break;
  }
  return Access::kFree;
}

}  // namespace

std::optional<reservation::Type> Reservations::parse_type(uint8_t scope_and_type) {
  return reservation::parse_type(scope_and_type);  // only the logical unit scope, 0, exists
}

bool Reservations::allows(std::string_view port, Reserved reserved) const {
  return state_.allows(port, access_of(reserved));
}

Reservations::Outcome Reservations::out(std::string_view port, const Cdb& cdb,
                                        std::span<const uint8_t> parameters) {
  const uint8_t action = cdb[1] & 0x1f;
  const size_t length = be::load32(&cdb[5]);
  if (length != parameters.size() || parameters.size() < kParameterListSize ||
      (action != kRegisterAndMove && parameters.size() != kParameterListSize)) {
    return illegal(kParameterListLength);
  }
  const uint8_t flags = parameters[20];
  Arguments arguments{.key = be::load64(&parameters[0]),
                      .action_key = be::load64(&parameters[8]),
                      .aptpl = (flags & 0x01) != 0,
                      .scope_and_type = cdb[2]};
  if (action == kRegisterAndMove) {
    arguments.aptpl = (parameters[17] & 0x01) != 0;
  } else if ((flags & 0x08) != 0) {
    return illegal(kInvalidFieldInParameters.at_parameter(20));  // SPEC_I_PT
  }
  const bool uses_aptpl =
      action == kRegister || action == kRegisterAndIgnore || action == kRegisterAndMove;
  if (uses_aptpl && arguments.aptpl && !can_persist_) {
    return illegal(kInvalidFieldInParameters.at_parameter(action == kRegisterAndMove ? 17 : 20));
  }
  switch (action) {
    case kRegister:
      return register_key(port, arguments, false);
    case kRegisterAndIgnore:
      return register_key(port, arguments, true);
    default:
      break;
  }
  const Registration* own = state_.find(port);
  if (own == nullptr || own->key != arguments.key) return conflict();
  const Sense wrong_type = kInvalidFieldInCdb.at_cdb(2);
  const auto type = parse_type(arguments.scope_and_type);
  switch (action) {
    case kReserve:
      return outcome_of(state_.reserve(port, type), wrong_type);
    case kRelease:
      return outcome_of(state_.release(port, type), kInvalidRelease);
    case kClear:
      return outcome_of(state_.clear(port), wrong_type);
    case kPreempt:
    case kPreemptAndAbort:
      return outcome_of(
          state_.preempt(port, arguments.action_key, type, action == kPreemptAndAbort), wrong_type);
    case kRegisterAndMove:
      return register_and_move(port, arguments, parameters);
    default:
      return illegal(kInvalidFieldInCdb.at_cdb(1));
  }
}

Reservations::Outcome Reservations::register_key(std::string_view port, const Arguments& arguments,
                                                 bool ignore_existing) {
  const Registration* own = state_.find(port);
  const uint64_t current = own != nullptr ? own->key : 0;
  if (!ignore_existing && current != arguments.key) return conflict();
  if (own == nullptr && arguments.action_key == 0) return {};
  reservation::Outcome found =
      arguments.action_key != 0 ? state_.set_key(port, arguments.action_key) : state_.leave(port);
  if (found.changed) state_.set_persistent(arguments.aptpl);
  return outcome_of(std::move(found), {});
}

Reservations::Outcome Reservations::register_and_move(std::string_view port,
                                                      const Arguments& arguments,
                                                      std::span<const uint8_t> parameters) {
  const auto type = state_.type();
  if (!type || !holds(port) || reservation::all_registrants(*type)) return conflict();
  if (arguments.action_key == 0) return illegal(kInvalidFieldInParameters.at_parameter(8));
  const size_t id_length = be::load32(&parameters[20]);
  if (id_length != parameters.size() - kParameterListSize) return illegal(kParameterListLength);
  if (be::load16(&parameters[18]) != relative_port_) {
    return illegal(kInvalidFieldInParameters.at_parameter(18));
  }
  const auto to = parse_transport_id(parameters.subspan(kParameterListSize));
  if (!to || *to == port) return illegal(kInvalidFieldInParameters.at_parameter(24));
  const bool unregisters = (parameters[17] & 0x02) != 0;
  reservation::Outcome found = state_.move(port, *to, arguments.action_key, unregisters);
  if (found.changed) state_.set_persistent(arguments.aptpl);
  return outcome_of(std::move(found), {});
}

std::optional<Sense> Reservations::in(const Cdb& cdb, std::vector<uint8_t>& data) const {
  data.clear();
  const auto type = state_.type();
  switch (cdb[1] & 0x1f) {
    case 0:  // READ KEYS
      append32(data, generation());
      append32(data, uint32_t(state_.registrations().size() * 8));
      for (const Registration& each : state_.registrations()) append64(data, each.key);
      return std::nullopt;
    case 1:  // READ RESERVATION
      append32(data, generation());
      append32(data, type ? 16 : 0);
      if (!type) return std::nullopt;
      append64(data, state_.holder_key());
      append32(data, 0);
      data.push_back(0);
      data.push_back(uint8_t(*type));
      append16(data, 0);
      return std::nullopt;
    case 2:  // REPORT CAPABILITIES
      append16(data, 8);
      data.push_back(0x04 | (can_persist_ ? 0x01 : 0));  // ATP_C, PTPL_C
      data.push_back(0x80 | (aptpl() ? 0x01 : 0));       // TMV, PTPL_A
      append16(data, 0xea01);                            // all six types
      append16(data, 0);
      return std::nullopt;
    case 3:  // READ FULL STATUS
      append32(data, generation());
      append32(data, 0);
      for (const Registration& registration : state_.registrations()) {
        const bool holder = holds(registration.who);
        append64(data, registration.key);
        append32(data, 0);
        data.push_back(holder ? 0x01 : 0x00);
        data.push_back(holder ? uint8_t(*type) : 0);
        append32(data, 0);
        append16(data, relative_port_);
        const std::vector<uint8_t> id = transport_id(registration.who);
        append32(data, uint32_t(id.size()));
        data.insert(data.end(), id.begin(), id.end());
      }
      be::store32(&data[4], uint32_t(data.size() - 8));
      return std::nullopt;
    default:
      return kInvalidFieldInCdb.at_cdb(1);
  }
}

bool Reservations::restore(std::string_view text) {
  auto restored = reservation::Registry::parse(text, &reservation::Registry::valid_name);
  if (!restored) return false;
  state_ = *std::move(restored);
  return true;
}

}  // namespace mrpool::scsi
