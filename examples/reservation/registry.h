// Persistent reservations of one store: who is registered with which key, and who holds which
// reservation. NVMe ([base] 8.8) and SCSI (SPC-4 §5.13) define them alike, so both targets decide
// by this one machine; each translates its own commands, keys' checks and statuses.
//
// A registrant is a name that outlives connections: the host identifier (NVMe), the initiator port
// with its ISID (SCSI). Names have no white space. The state can be written to a string and read
// back; the targets keep that string by examples/storage/state_file.h.
//
// Thread safety: none; a value. Copies are independent: a change is tried on a copy, which takes
// the place of the state when it has been kept.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mrpool::reservation {

// SCSI's numbers, which the kept state has too.
enum class Type : uint8_t {
  kWriteExclusive = 1,
  kExclusiveAccess = 3,
  kWriteExclusiveRegistrantsOnly = 5,
  kExclusiveAccessRegistrantsOnly = 6,
  kWriteExclusiveAllRegistrants = 7,
  kExclusiveAccessAllRegistrants = 8,
};
std::optional<Type> parse_type(unsigned number);
bool all_registrants(Type type);
bool registrants_only(Type type);
bool write_exclusive(Type type);

// What a command does, as a reservation sees it.
enum class Access : uint8_t { kFree, kRead, kWrite };

// What another registrant is notified of.
enum class Event : uint8_t { kRegistrationPreempted, kReservationReleased, kReservationPreempted };
struct Notice {
  std::string who;
  Event event;
};

enum class Result : uint8_t {
  kDone,
  kConflict,   // RESERVATION CONFLICT
  kFull,       // no room for another registrant
  kWrongType,  // no such type, or not the one that is held
  kNoKey,      // a key is needed
};

struct Outcome {
  Result result = Result::kDone;
  std::vector<Notice> notices{};
  std::vector<std::string> fenced{};  // whose commands have to end: a preempt and abort
  bool changed = false;               // the state is another one
};

struct Registration {
  uint64_t key = 0;
  std::string who;
};

class Registry {
 public:
  static constexpr size_t kMaxRegistrations = 1024;

  // May `who` run a command of this kind?
  bool allows(std::string_view who, Access access) const;

  // The changes. The caller has compared keys; those below set_key() are a registrant's.
  Outcome set_key(std::string_view who, uint64_t key);  // registers who is not yet
  Outcome leave(std::string_view who);
  Outcome reserve(std::string_view who, std::optional<Type> type);
  Outcome release(std::string_view who, std::optional<Type> type);
  Outcome clear(std::string_view who);
  // `type` counts where the reservation itself is taken over.
  Outcome preempt(std::string_view who, uint64_t victim, std::optional<Type> type, bool abort);
  // The holder's reservation becomes `to`'s, with that key; `leaves`: and `who` unregisters.
  Outcome move(std::string_view who, std::string_view to, uint64_t key, bool leaves);
  // Whether everything survives power loss.
  void set_persistent(bool persistent) { persistent_ = persistent; }

  bool persistent() const { return persistent_; }
  const Registration* find(std::string_view who) const;
  bool holds(std::string_view who) const;
  std::optional<Type> type() const { return type_; }
  // Its key; 0 for the all-registrants types and without a reservation.
  uint64_t holder_key() const;
  uint32_t generation() const { return generation_; }
  const std::vector<Registration>& registrations() const { return registrations_; }

  // What survives power loss: everything where that is asked for, nothing otherwise.
  std::string serialize() const;
  // Everything: for others that decide from now on.
  std::string serialize_all() const;
  // Nothing: not what serialize() or serialize_all() writes. `valid`: whether a registrant can be
  // called so.
  static std::optional<Registry> parse(std::string_view text, bool (*valid)(std::string_view who));
  // The names that both targets' registrants have at least: no white space, not empty.
  static bool valid_name(std::string_view who);

 private:
  Registration* find_to_change(std::string_view who);
  void remove(std::string_view who);
  void notify_others(std::string_view who, Event event, Outcome& outcome) const;
  void drop_if_unheld(std::string_view leaving, Outcome& outcome);
  bool parse_line(std::string_view line, bool (*valid)(std::string_view who));
  bool consistent() const;

  bool persistent_ = false;
  bool described_ = false;  // parsing: the line of the state was there
  uint32_t generation_ = 0;
  std::vector<Registration> registrations_;
  std::optional<Type> type_;  // a reservation is held
  std::string holder_;        // empty for the all-registrants types
};

}  // namespace mrpool::reservation
