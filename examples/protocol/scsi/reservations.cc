#include "examples/protocol/scsi/reservations.h"

#include <algorithm>
#include <charconv>

#include "examples/base/big_endian.h"

namespace mrpool::scsi {
namespace {

constexpr size_t kMaxRegistrations = 1024;
constexpr size_t kParameterListSize = 24;
constexpr uint16_t kRelativeTargetPort = 1;

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

}  // namespace

bool Reservations::all_registrants(ReservationType type) {
  return type == ReservationType::kWriteExclusiveAllRegistrants ||
         type == ReservationType::kExclusiveAccessAllRegistrants;
}

bool Reservations::registrants_only(ReservationType type) {
  return type == ReservationType::kWriteExclusiveRegistrantsOnly ||
         type == ReservationType::kExclusiveAccessRegistrantsOnly;
}

bool Reservations::write_exclusive(ReservationType type) {
  return type == ReservationType::kWriteExclusive ||
         type == ReservationType::kWriteExclusiveRegistrantsOnly ||
         type == ReservationType::kWriteExclusiveAllRegistrants;
}

std::optional<ReservationType> Reservations::parse_type(uint8_t scope_and_type) {
  if (scope_and_type >> 4 != 0) return std::nullopt;  // only the logical unit scope exists
  switch (const auto type = ReservationType(scope_and_type & 0x0f)) {
    case ReservationType::kWriteExclusive:
    case ReservationType::kExclusiveAccess:
    case ReservationType::kWriteExclusiveRegistrantsOnly:
    case ReservationType::kExclusiveAccessRegistrantsOnly:
    case ReservationType::kWriteExclusiveAllRegistrants:
    case ReservationType::kExclusiveAccessAllRegistrants:
      return type;
  }
  return std::nullopt;
}

const Reservations::Registration* Reservations::find(std::string_view port) const {
  const auto found = std::ranges::find(registrations_, port, &Registration::port);
  return found == registrations_.end() ? nullptr : &*found;
}

Reservations::Registration* Reservations::find(std::string_view port) {
  const auto found = std::ranges::find(registrations_, port, &Registration::port);
  return found == registrations_.end() ? nullptr : &*found;
}

bool Reservations::holds(std::string_view port) const {
  if (!type_) return false;
  return all_registrants(*type_) ? registered(port) : holder_ == port;
}

bool Reservations::allows(std::string_view port, Reserved reserved) const {
  if (!type_ || reserved == Reserved::kAllowed || reserved == Reserved::kDecidesItself) return true;
  if (holds(port)) return true;
  if (registrants_only(*type_) && registered(port)) return true;
  return write_exclusive(*type_) && reserved == Reserved::kAllowedAsRead;
}

void Reservations::remove(std::string_view port) {
  std::erase_if(registrations_, [&](const Registration& r) { return r.port == port; });
}

void Reservations::notify_others(std::string_view port, const Sense& attention,
                                 Outcome& outcome) const {
  for (const Registration& other : registrations_) {
    if (other.port != port) outcome.notices.push_back({other.port, attention});
  }
}

void Reservations::drop_if_unheld(std::string_view leaving, Outcome& outcome) {
  if (!type_) return;
  if (all_registrants(*type_)) {
    if (registrations_.empty()) type_.reset();
    return;
  }
  if (holder_ != leaving) return;
  if (registrants_only(*type_)) notify_others(leaving, kReservationsReleased, outcome);
  type_.reset();
  holder_.clear();
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
  const Registration* own = find(port);
  if (own == nullptr || own->key != arguments.key) return conflict();
  switch (action) {
    case kReserve:
      return reserve(port, arguments);
    case kRelease:
      return release(port, arguments);
    case kClear:
      return clear(port, arguments);
    case kPreempt:
    case kPreemptAndAbort:
      return preempt(port, arguments, action == kPreemptAndAbort);
    case kRegisterAndMove:
      return register_and_move(port, arguments, parameters);
    default:
      return illegal(kInvalidFieldInCdb.at_cdb(1));
  }
}

Reservations::Outcome Reservations::register_key(std::string_view port, const Arguments& arguments,
                                                 bool ignore_existing) {
  Outcome outcome{.changed = true};
  Registration* own = find(port);
  if (own == nullptr) {
    if (!ignore_existing && arguments.key != 0) return conflict();
    if (arguments.action_key == 0) return {};
    if (registrations_.size() >= kMaxRegistrations) return illegal(kInsufficientRegistrations);
    registrations_.push_back({arguments.action_key, std::string(port)});
  } else {
    if (!ignore_existing && own->key != arguments.key) return conflict();
    if (arguments.action_key != 0) {
      own->key = arguments.action_key;
    } else {
      remove(port);
      drop_if_unheld(port, outcome);
    }
  }
  aptpl_ = arguments.aptpl;
  ++generation_;
  return outcome;
}

Reservations::Outcome Reservations::reserve(std::string_view port, const Arguments& arguments) {
  const auto type = parse_type(arguments.scope_and_type);
  if (!type) return illegal(kInvalidFieldInCdb.at_cdb(2));
  if (type_) {
    // The holder may ask for the same again; nothing changes.
    return holds(port) && *type_ == *type ? Outcome{} : conflict();
  }
  type_ = type;
  holder_ = all_registrants(*type) ? std::string_view{} : port;
  return {.changed = true};
}

Reservations::Outcome Reservations::release(std::string_view port, const Arguments& arguments) {
  if (!type_ || !holds(port)) return {};
  const auto type = parse_type(arguments.scope_and_type);
  if (type != type_) return illegal(kInvalidRelease);
  Outcome outcome{.changed = true};
  if (all_registrants(*type_) || registrants_only(*type_)) {
    notify_others(port, kReservationsReleased, outcome);
  }
  type_.reset();
  holder_.clear();
  return outcome;
}

Reservations::Outcome Reservations::clear(std::string_view port, const Arguments&) {
  Outcome outcome{.changed = true};
  notify_others(port, kReservationsPreempted, outcome);
  registrations_.clear();
  type_.reset();
  holder_.clear();
  ++generation_;
  return outcome;
}

Reservations::Outcome Reservations::preempt(std::string_view port, const Arguments& arguments,
                                            bool abort) {
  Outcome outcome{.changed = true};
  const uint64_t victim = arguments.action_key;
  const bool all = type_ && all_registrants(*type_);
  const Registration* holder = type_ && !all ? find(holder_) : nullptr;
  // The reservation itself is preempted when the key is its holder's, or, for the all-registrants
  // types, when no key is named (SPC-4 §5.13.11.4).
  const bool takes_over = (all && victim == 0) || (holder != nullptr && holder->key == victim);
  if (victim == 0 && !all) return illegal(kInvalidFieldInParameters.at_parameter(8));
  std::optional<ReservationType> type;
  if (takes_over) {
    type = parse_type(arguments.scope_and_type);
    if (!type) return illegal(kInvalidFieldInCdb.at_cdb(2));
  }

  std::vector<Registration> gone;
  std::erase_if(registrations_, [&](const Registration& other) {
    if (other.port == port) return false;
    if (!(all && victim == 0) && other.key != victim) return false;
    gone.push_back(other);
    return true;
  });
  // Preempting one's own key while holding the reservation takes nobody's registration away.
  const bool own_key = find(port)->key == victim;
  if (gone.empty() && !takes_over && !own_key) return conflict();

  for (const Registration& other : gone) {
    outcome.notices.push_back({other.port, kRegistrationsPreempted});
    if (abort) outcome.abort_tasks_of.push_back(other.port);
  }
  if (takes_over) {
    const bool type_changes = *type != *type_;
    type_ = type;
    holder_ = all_registrants(*type) ? std::string_view{} : port;
    if (type_changes) notify_others(port, kReservationsReleased, outcome);
  } else if (all && registrations_.empty()) {
    type_.reset();
  }
  ++generation_;
  return outcome;
}

Reservations::Outcome Reservations::register_and_move(std::string_view port,
                                                      const Arguments& arguments,
                                                      std::span<const uint8_t> parameters) {
  if (!type_ || !holds(port)) return conflict();
  if (all_registrants(*type_)) return conflict();
  if (arguments.action_key == 0) return illegal(kInvalidFieldInParameters.at_parameter(8));
  const size_t id_length = be::load32(&parameters[20]);
  if (id_length != parameters.size() - kParameterListSize) return illegal(kParameterListLength);
  if (be::load16(&parameters[18]) != kRelativeTargetPort) {
    return illegal(kInvalidFieldInParameters.at_parameter(18));
  }
  const auto to = parse_transport_id(parameters.subspan(kParameterListSize));
  if (!to || *to == port) return illegal(kInvalidFieldInParameters.at_parameter(24));
  if (Registration* existing = find(*to)) {
    existing->key = arguments.action_key;
  } else {
    if (registrations_.size() >= kMaxRegistrations) return illegal(kInsufficientRegistrations);
    registrations_.push_back({arguments.action_key, *to});
  }
  Outcome outcome{.changed = true};
  holder_ = *to;
  aptpl_ = arguments.aptpl;
  if ((parameters[17] & 0x02) != 0) remove(port);  // UNREG
  ++generation_;
  return outcome;
}

std::optional<Sense> Reservations::in(const Cdb& cdb, std::vector<uint8_t>& data) const {
  data.clear();
  switch (cdb[1] & 0x1f) {
    case 0:  // READ KEYS
      append32(data, generation_);
      append32(data, uint32_t(registrations_.size() * 8));
      for (const Registration& registration : registrations_) append64(data, registration.key);
      return std::nullopt;
    case 1: {  // READ RESERVATION
      append32(data, generation_);
      append32(data, type_ ? 16 : 0);
      if (!type_) return std::nullopt;
      const Registration* holder = find(holder_);
      append64(data, holder != nullptr ? holder->key : 0);
      append32(data, 0);
      data.push_back(0);
      data.push_back(uint8_t(*type_));
      append16(data, 0);
      return std::nullopt;
    }
    case 2:  // REPORT CAPABILITIES
      append16(data, 8);
      data.push_back(0x04 | (can_persist_ ? 0x01 : 0));  // ATP_C, PTPL_C
      data.push_back(0x80 | (aptpl_ ? 0x01 : 0));        // TMV, PTPL_A
      append16(data, 0xea01);                            // all six types
      append16(data, 0);
      return std::nullopt;
    case 3:  // READ FULL STATUS
      append32(data, generation_);
      append32(data, 0);
      for (const Registration& registration : registrations_) {
        const bool holder = holds(registration.port);
        append64(data, registration.key);
        append32(data, 0);
        data.push_back(holder ? 0x01 : 0x00);
        data.push_back(holder ? uint8_t(*type_) : 0);
        append32(data, 0);
        append16(data, kRelativeTargetPort);
        const std::vector<uint8_t> id = transport_id(registration.port);
        append32(data, uint32_t(id.size()));
        data.insert(data.end(), id.begin(), id.end());
      }
      be::store32(&data[4], uint32_t(data.size() - 8));
      return std::nullopt;
    default:
      return kInvalidFieldInCdb.at_cdb(1);
  }
}

// One line each: "aptpl GENERATION TYPE HOLDER" and "key KEY PORT". Ports have no spaces.
std::string Reservations::serialize() const {
  if (!aptpl_) return {};
  std::string text = "aptpl " + std::to_string(generation_) + ' ' +
                     std::to_string(type_ ? unsigned(*type_) : 0u) + ' ' + holder_ + '\n';
  for (const Registration& registration : registrations_) {
    text += "key " + std::to_string(registration.key) + ' ' + registration.port + '\n';
  }
  return text;
}

bool Reservations::restore(std::string_view text) {
  Reservations restored(can_persist_);
  const auto word = [](std::string_view& line) {
    const size_t space = line.find(' ');
    const std::string_view found = line.substr(0, space);
    line.remove_prefix(space == std::string_view::npos ? line.size() : space + 1);
    return found;
  };
  const auto number = [](std::string_view digits, auto& value) {
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    return error == std::errc{} && end == digits.data() + digits.size();
  };
  while (!text.empty()) {
    const size_t newline = text.find('\n');
    if (newline == std::string_view::npos) return false;
    std::string_view line = text.substr(0, newline);
    text.remove_prefix(newline + 1);
    const std::string_view kind = word(line);
    if (kind == "aptpl") {
      uint8_t type = 0;
      if (!number(word(line), restored.generation_) || !number(word(line), type)) return false;
      restored.aptpl_ = true;
      if (type != 0) {
        restored.type_ = parse_type(type);
        if (!restored.type_) return false;
      }
      restored.holder_ = line;
    } else if (kind == "key") {
      Registration registration;
      if (!number(word(line), registration.key) || line.empty()) return false;
      registration.port = line;
      restored.registrations_.push_back(std::move(registration));
    } else {
      return false;
    }
  }
  *this = std::move(restored);
  return true;
}

}  // namespace mrpool::scsi
