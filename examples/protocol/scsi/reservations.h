// Persistent reservations of one logical unit as PERSISTENT RESERVE IN and OUT (SPC-4 §6.15,
// §6.16): parameter lists and data of what examples/reservation/registry.h decides.
//
// Registrants are named by their initiator port ("iqn...,i,0x<ISID>"), which outlives sessions and,
// with APTPL, the target's process.
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
#include "examples/reservation/registry.h"

namespace mrpool::scsi {

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
  // `relative_port`: the identifier of the only target port.
  explicit Reservations(bool can_persist, uint16_t relative_port = 1)
      : can_persist_(can_persist), relative_port_(relative_port) {}

  // After a copy from another unit.
  void set_relative_port(uint16_t relative_port) { relative_port_ = relative_port; }

  // May `port` run an operation of this class?
  bool allows(std::string_view port, Reserved reserved) const;

  // PERSISTENT RESERVE OUT; `parameters` is its whole parameter list.
  Outcome out(std::string_view port, const Cdb& cdb, std::span<const uint8_t> parameters);
  // PERSISTENT RESERVE IN: the whole parameter data, to be cut to the allocation length.
  std::optional<Sense> in(const Cdb& cdb, std::vector<uint8_t>& data) const;

  bool registered(std::string_view port) const { return state_.find(port) != nullptr; }
  bool holds(std::string_view port) const { return state_.holds(port); }
  uint32_t generation() const { return state_.generation(); }
  bool aptpl() const { return state_.persistent(); }

  // What survives power loss: everything when APTPL is set, nothing otherwise.
  std::string serialize() const { return state_.serialize(); }
  // False: not what serialize() writes; the state stays empty.
  bool restore(std::string_view text);

 private:
  struct Arguments {
    uint64_t key = 0;
    uint64_t action_key = 0;
    bool aptpl = false;
    uint8_t scope_and_type = 0;
  };

  static std::optional<reservation::Type> parse_type(uint8_t scope_and_type);
  Outcome register_key(std::string_view port, const Arguments& arguments, bool ignore_existing);
  Outcome register_and_move(std::string_view port, const Arguments& arguments,
                            std::span<const uint8_t> parameters);

  bool can_persist_;
  uint16_t relative_port_;
  reservation::Registry state_;
};

}  // namespace mrpool::scsi
