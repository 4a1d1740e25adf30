#include "examples/reservation/registry.h"

#include <algorithm>
#include <charconv>

namespace mrpool::reservation {

namespace {

Outcome refused(Result why) { return {.result = why}; }

}  // namespace

std::optional<Type> parse_type(unsigned number) {
  for (const Type type :
       {Type::kWriteExclusive, Type::kExclusiveAccess, Type::kWriteExclusiveRegistrantsOnly,
        Type::kExclusiveAccessRegistrantsOnly, Type::kWriteExclusiveAllRegistrants,
        Type::kExclusiveAccessAllRegistrants}) {
    if (unsigned(type) == number) return type;
  }
  return std::nullopt;
}

bool all_registrants(Type type) {
  return type == Type::kWriteExclusiveAllRegistrants ||
         type == Type::kExclusiveAccessAllRegistrants;
}

bool registrants_only(Type type) {
  return type == Type::kWriteExclusiveRegistrantsOnly ||
         type == Type::kExclusiveAccessRegistrantsOnly;
}

bool write_exclusive(Type type) {
  return type == Type::kWriteExclusive || type == Type::kWriteExclusiveRegistrantsOnly ||
         type == Type::kWriteExclusiveAllRegistrants;
}

const Registration* Registry::find(std::string_view who) const {
  const auto found = std::ranges::find(registrations_, who, &Registration::who);
  return found == registrations_.end() ? nullptr : &*found;
}

Registration* Registry::find_to_change(std::string_view who) {
  const auto found = std::ranges::find(registrations_, who, &Registration::who);
  return found == registrations_.end() ? nullptr : &*found;
}

bool Registry::holds(std::string_view who) const {
  if (!type_) return false;
  return all_registrants(*type_) ? find(who) != nullptr : holder_ == who;
}

uint64_t Registry::holder_key() const {
  const Registration* holder = type_ ? find(holder_) : nullptr;
  return holder != nullptr ? holder->key : 0;
}

bool Registry::allows(std::string_view who, Access access) const {
  if (!type_ || access == Access::kFree || holds(who)) return true;
  if (registrants_only(*type_) && find(who) != nullptr) return true;
  return write_exclusive(*type_) && access == Access::kRead;
}

void Registry::remove(std::string_view who) {
  std::erase_if(registrations_, [&](const Registration& r) { return r.who == who; });
}

void Registry::notify_others(std::string_view who, Event event, Outcome& outcome) const {
  for (const Registration& other : registrations_) {
    if (other.who != who) outcome.notices.push_back({other.who, event});
  }
}

// The reservation ends where its last holder has gone.
void Registry::drop_if_unheld(std::string_view leaving, Outcome& outcome) {
  if (!type_) return;
  if (all_registrants(*type_)) {
    if (registrations_.empty()) type_.reset();
    return;
  }
  if (holder_ != leaving) return;
  if (registrants_only(*type_)) notify_others(leaving, Event::kReservationReleased, outcome);
  type_.reset();
  holder_.clear();
}

Outcome Registry::set_key(std::string_view who, uint64_t key) {
  if (Registration* own = find_to_change(who)) {
    own->key = key;
  } else {
    if (registrations_.size() >= kMaxRegistrations) return refused(Result::kFull);
    registrations_.push_back({key, std::string(who)});
  }
  ++generation_;
  return {.changed = true};
}

Outcome Registry::leave(std::string_view who) {
  Outcome outcome{.changed = true};
  remove(who);
  drop_if_unheld(who, outcome);
  ++generation_;
  return outcome;
}

Outcome Registry::reserve(std::string_view who, std::optional<Type> type) {
  if (!type) return refused(Result::kWrongType);
  if (type_) {
    // The holder may ask for the same again; nothing changes.
    return holds(who) && *type_ == *type ? Outcome{} : refused(Result::kConflict);
  }
  type_ = type;
  holder_ = all_registrants(*type) ? std::string_view{} : who;
  return {.changed = true};
}

Outcome Registry::release(std::string_view who, std::optional<Type> type) {
  if (!type_ || !holds(who)) return {};
  if (type != type_) return refused(Result::kWrongType);
  Outcome outcome{.changed = true};
  if (all_registrants(*type_) || registrants_only(*type_)) {
    notify_others(who, Event::kReservationReleased, outcome);
  }
  type_.reset();
  holder_.clear();
  return outcome;
}

Outcome Registry::clear(std::string_view who) {
  Outcome outcome{.changed = true};
  notify_others(who, Event::kReservationPreempted, outcome);
  registrations_.clear();
  type_.reset();
  holder_.clear();
  ++generation_;
  return outcome;
}

Outcome Registry::preempt(std::string_view who, uint64_t victim, std::optional<Type> type,
                          bool abort) {
  Outcome outcome{.changed = true};
  const bool all = type_ && all_registrants(*type_);
  const Registration* holder = type_ && !all ? find(holder_) : nullptr;
  // The reservation itself is preempted when the key is its holder's, or, for the all-registrants
  // types, when no key is named (SPC-4 §5.13.11.4, [base] 8.8.7).
  const bool takes_over = (all && victim == 0) || (holder != nullptr && holder->key == victim);
  if (victim == 0 && !all) return refused(Result::kNoKey);
  if (takes_over && !type) return refused(Result::kWrongType);

  std::vector<Registration> gone;
  std::erase_if(registrations_, [&](const Registration& other) {
    if (other.who == who) return false;
    if (!(all && victim == 0) && other.key != victim) return false;
    gone.push_back(other);
    return true;
  });
  // Preempting one's own key while holding the reservation takes nobody's registration away.
  const Registration* own = find(who);
  const bool own_key = own != nullptr && own->key == victim;
  if (gone.empty() && !takes_over && !own_key) return refused(Result::kConflict);

  for (const Registration& other : gone) {
    outcome.notices.push_back({other.who, Event::kRegistrationPreempted});
    if (abort) outcome.fenced.push_back(other.who);
  }
  if (takes_over) {
    const bool type_changes = *type != *type_;
    type_ = type;
    holder_ = all_registrants(*type) ? std::string_view{} : who;
    if (type_changes) notify_others(who, Event::kReservationReleased, outcome);
  } else if (all && registrations_.empty()) {
    type_.reset();
  }
  ++generation_;
  return outcome;
}

Outcome Registry::move(std::string_view who, std::string_view to, uint64_t key, bool leaves) {
  if (!type_ || !holds(who) || all_registrants(*type_)) return refused(Result::kConflict);
  Outcome outcome = set_key(to, key);  // raises the generation
  if (!outcome.changed) return outcome;
  holder_ = to;
  if (leaves) remove(who);
  return outcome;
}

std::string Registry::serialize() const { return persistent_ ? serialize_all() : std::string(); }

// One line each: "keys COUNT", so that a truncated file is detected; "aptpl GENERATION TYPE
// HOLDER", or "state" instead of "aptpl" for what does not survive power loss; and "key KEY NAME".
// Names have no spaces.
std::string Registry::serialize_all() const {
  std::string text = "keys " + std::to_string(registrations_.size()) + '\n';
  text += (persistent_ ? "aptpl " : "state ") + std::to_string(generation_) + ' ' +
          std::to_string(type_ ? unsigned(*type_) : 0u) + ' ' + holder_ + '\n';
  for (const Registration& registration : registrations_) {
    text += "key " + std::to_string(registration.key) + ' ' + registration.who + '\n';
  }
  return text;
}

namespace {

std::string_view take_word(std::string_view& line) {
  const size_t space = line.find(' ');
  const std::string_view found = line.substr(0, space);
  line.remove_prefix(space == std::string_view::npos ? line.size() : space + 1);
  return found;
}

template <typename Number>
bool parse_number(std::string_view digits, Number& value) {
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  return error == std::errc{} && end == digits.data() + digits.size();
}

}  // namespace

bool Registry::parse_line(std::string_view line, bool (*valid)(std::string_view who)) {
  const std::string_view kind = take_word(line);
  if (kind == "aptpl" || kind == "state") {
    uint8_t type = 0;
    if (described_) return false;  // the line is there once
    if (!parse_number(take_word(line), generation_)) return false;
    if (!parse_number(take_word(line), type)) return false;
    described_ = true;
    persistent_ = kind == "aptpl";
    holder_ = line;
    if (type == 0) return true;
    type_ = parse_type(type);
    return type_.has_value();
  }
  Registration registration;
  if (kind != "key" || !described_ || registrations_.size() == kMaxRegistrations) return false;
  if (!parse_number(take_word(line), registration.key)) return false;
  if (find(line) != nullptr || !valid(line)) return false;
  registration.who = line;
  registrations_.push_back(std::move(registration));
  return true;
}

// Who holds what is registered, as every change leaves it.
bool Registry::consistent() const {
  if (!type_) return holder_.empty();
  if (all_registrants(*type_)) return holder_.empty() && !registrations_.empty();
  return find(holder_) != nullptr;
}

std::optional<Registry> Registry::parse(std::string_view text,
                                        bool (*valid)(std::string_view who)) {
  Registry registry;
  std::optional<size_t> keys;  // earlier releases did not say
  for (bool first = true; !text.empty(); first = false) {
    const size_t newline = text.find('\n');
    if (newline == std::string_view::npos) return std::nullopt;
    std::string_view line = text.substr(0, newline);
    text.remove_prefix(newline + 1);
    if (constexpr std::string_view kKeys = "keys "; first && line.starts_with(kKeys)) {
      size_t count = 0;
      if (!parse_number(line.substr(kKeys.size()), count)) return std::nullopt;
      keys = count;
    } else if (!registry.parse_line(line, valid)) {
      return std::nullopt;
    }
  }
  if (keys && (!registry.described_ || *keys != registry.registrations_.size())) {
    return std::nullopt;
  }
  if (!registry.consistent()) return std::nullopt;
  return registry;
}

bool Registry::valid_name(std::string_view who) {
  return !who.empty() && std::ranges::none_of(who, [](char c) { return uint8_t(c) <= ' '; });
}

}  // namespace mrpool::reservation
