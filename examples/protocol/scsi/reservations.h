// Persistent reservations of one logical unit (SPC-4 §5.13, §6.15, §6.16).
//
// Registrants are named by their initiator port ("iqn...,i,0x<ISID>"), which outlives sessions and,
// with APTPL, the target's process. The state can be written to a string and read back; the iSER
// target keeps that string by examples/storage/state_file.h.
//
// Thread safety: one thread.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "examples/protocol/scsi/opcodes.h"
#include "examples/protocol/scsi/sense.h"

namespace mrpool::scsi {

enum class ReservationType : uint8_t {
  kWriteExclusive = 1,
  kExclusiveAccess = 3,
  kWriteExclusiveRegistrantsOnly = 5,
  kExclusiveAccessRegistrantsOnly = 6,
  kWriteExclusiveAllRegistrants = 7,
  kExclusiveAccessAllRegistrants = 8,
};

class Reservations {
 public:
  // A unit attention for another registrant.
  struct Notice {
    std::string port;
    Sense attention;
  };
  struct Outcome {
    Status status = Status::kGood;
    Sense sense{};
    std::vector<Notice> notices{};
    std::vector<std::string> abort_tasks_of{};  // PREEMPT AND ABORT
    bool changed = false;  // the state to keep across power loss is another one
  };

  // `can_persist`: APTPL is offered (somebody keeps what serialize() gives).
  explicit Reservations(bool can_persist) : can_persist_(can_persist) {}

  // May `port` run an operation of this class?
  bool allows(std::string_view port, Reserved reserved) const;

  // PERSISTENT RESERVE OUT; `parameters` is its whole parameter list.
  Outcome out(std::string_view port, const Cdb& cdb, std::span<const uint8_t> parameters);
  // PERSISTENT RESERVE IN: the whole parameter data, to be cut to the allocation length.
  std::optional<Sense> in(const Cdb& cdb, std::vector<uint8_t>& data) const;

  bool registered(std::string_view port) const { return find(port) != nullptr; }
  bool holds(std::string_view port) const;
  uint32_t generation() const { return generation_; }
  bool aptpl() const { return aptpl_; }

  // What survives power loss: everything when APTPL is set, nothing otherwise.
  std::string serialize() const;
  // False: not what serialize() writes; the state stays empty.
  bool restore(std::string_view text);

 private:
  struct Registration {
    uint64_t key = 0;
    std::string port;
  };
  struct Arguments {
    uint64_t key = 0;
    uint64_t action_key = 0;
    bool aptpl = false;
    uint8_t scope_and_type = 0;
  };

  const Registration* find(std::string_view port) const;
  Registration* find(std::string_view port);
  static bool all_registrants(ReservationType type);
  static bool registrants_only(ReservationType type);
  static bool write_exclusive(ReservationType type);
  static std::optional<ReservationType> parse_type(uint8_t scope_and_type);

  Outcome register_key(std::string_view port, const Arguments& arguments, bool ignore_existing);
  Outcome reserve(std::string_view port, const Arguments& arguments);
  Outcome release(std::string_view port, const Arguments& arguments);
  Outcome clear(std::string_view port, const Arguments& arguments);
  Outcome preempt(std::string_view port, const Arguments& arguments, bool abort);
  Outcome register_and_move(std::string_view port, const Arguments& arguments,
                            std::span<const uint8_t> parameters);
  void notify_others(std::string_view port, const Sense& attention, Outcome& outcome) const;
  // The reservation ends because its last holder has gone.
  void drop_if_unheld(std::string_view leaving, Outcome& outcome);
  void remove(std::string_view port);

  bool can_persist_;
  bool aptpl_ = false;
  uint32_t generation_ = 0;
  std::vector<Registration> registrations_;
  std::optional<ReservationType> type_;  // a reservation is held
  std::string holder_;                   // empty for the all-registrants types
};

}  // namespace mrpool::scsi
