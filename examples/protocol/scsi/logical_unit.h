// A logical unit's device server: CDBs in, plans out. It answers commands that need no medium
// itself. For all others it returns which blocks to move; execution.h moves them.
//
// begin() takes a command as it arrives. A plan of kParameters needs the parameter list first and
// goes on with finish(). Checks follow SAM-5 §5.14 and SPC-4: unit attentions before
// reservations before the CDB's own fields.
//
// Thread safety: LogicalUnit: shared objects: safe. A Nexus belongs to the thread of its session;
// the unit alone reaches into it from others. What this rests on:
//  - The state that commands change (reservations, mode parameters, stopped) is under the unit's
//    mutex. Every nexus holds a copy of what its own commands need of it, the View, and begin()
//    decides by that copy without a lock.
//  - Who changes the state or raises an attention marks the nexuses concerned as stale before it
//    lets go of the mutex. begin() loads that one flag and takes the copy again when it is set.
//  - So a command that begin() let pass under the old state had begun before the change. Who must
//    know that such commands have ended (PREEMPT AND ABORT, resets) ends them through their
//    sessions' threads after the change: a message finds all of them there, and every command
//    after the message sees the mark.
//  - One PERSISTENT RESERVE OUT at a time works on a copy of the reservations and installs it when
//    it is kept; the mutex is free while it is being saved.
// Ownership: a Nexus belongs to the session and must be detached before it ends.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "examples/protocol/scsi/access.h"
#include "examples/protocol/scsi/copy_records.h"
#include "examples/protocol/scsi/copy_run.h"
#include "examples/protocol/scsi/mode.h"
#include "examples/protocol/scsi/opcodes.h"
#include "examples/protocol/scsi/plan.h"
#include "examples/protocol/scsi/reservations.h"
#include "examples/protocol/scsi/sense.h"
#include "examples/protocol/scsi/unit.h"

namespace mrpool::scsi {

class LogicalUnit;

// One initiator port at one logical unit: its pending unit attentions, oldest first, and its copy
// of the unit's state.
class Nexus {
 public:
  explicit Nexus(std::string port) : port_(std::move(port)) {}
  Nexus(const Nexus&) = delete;
  Nexus& operator=(const Nexus&) = delete;

  const std::string& port() const { return port_; }
  // Each condition is pending once; a reset replaces all that came before it. From any thread.
  void raise(const Sense& attention);
  // Another store has the LUN. The attention is reported to every command until
  // one has looked at what changed: INQUIRY for INQUIRY DATA HAS CHANGED, READ CAPACITY for
  // CAPACITY DATA HAS CHANGED. SAM-5 §5.14 clears it when it is reported once; then the other
  // commands that an initiator has under way would reach a store that they do not mean.
  void raise_until_seen(const Sense& attention);
  // The next one to report, but for what the command itself looks at (null: nothing).
  std::optional<Sense> take_attention(const Sense* looks_at = nullptr);
  void clear(const Sense& attention);
  void seen(const Sense& attention);
  bool waits_to_be_seen() const;
  // As begin() saw it last: sense data goes out in descriptor format.
  bool descriptor_sense() const { return view_.mode.descriptor_sense; }

 private:
  friend class LogicalUnit;
  struct View {
    ModeState mode{};
    bool stopped = false;
    bool attention = false;
    AccessState access{};
    uint64_t blocks = 0;
    uint64_t resets = 0;
    std::array<bool, kReservedClasses> allowed{};  // by Reserved
  };

  bool pending_locked() const { return !attentions_.empty() || !unseen_.empty(); }

  const std::string port_;
  View view_;           // the session's thread only
  CopyRecords copies_;  // likewise
  // The view is out of date. Release by the thread that changed something, acquire in begin(): a
  // command that happens after a change sees the mark. The state
  // itself is read under the mutex.
  std::atomic<bool> stale_{true};
  mutable std::mutex mutex_;  // inside the unit's
  std::vector<Sense> attentions_;
  std::vector<Sense> unseen_;  // of raise_until_seen()
};

// Keeps what must survive power loss. save() is durable when it returns.
using SaveReservations = std::function<absl::Status(const std::string& state)>;

class LogicalUnit {
 public:
  // `save` may be null: then APTPL is not offered.
  LogicalUnit(UnitFacts facts, SaveReservations save);
  LogicalUnit(const LogicalUnit&) = delete;
  LogicalUnit& operator=(const LogicalUnit&) = delete;

  const UnitFacts& facts() const { return facts_; }
  // For set-up and tests: no other thread uses the unit meanwhile.
  Reservations& reservations() { return reservations_; }
  ModeState mode() const;
  // As it is now; facts() has what it was at first.
  uint64_t blocks() const;
  // The storage has another size. The initiators get CAPACITY DATA HAS CHANGED.
  void resize(uint64_t blocks);
  // The state of the unit's target port group. Every initiator but that of `by` gets ASYMMETRIC
  // ACCESS STATE CHANGED.
  AccessState access() const;
  void set_access(AccessState state, AccessChange change = AccessChange::kByTarget,
                  const Nexus* by = nullptr);
  // The same, unless the configuration had this state before: a state that was set by a command
  // stays.
  void configure_access(AccessState state);
  // This unit is served in the place of `before` from now on, with its reservations. PERSISTENT
  // RESERVE OUTs that `before` gets after that are answered with BUSY, so that none is lost.
  void take_over(LogicalUnit& before);

  void attach(Nexus& nexus);
  void detach(Nexus& nexus);

  // `data_in` is filled for commands answered here, whole: the caller cuts it to the allocation
  // length it is given in `allocation`.
  Plan begin(Nexus& nexus, const Cdb& cdb, std::vector<uint8_t>& data_in);
  Plan finish(Nexus& nexus, const Cdb& cdb, std::span<const uint8_t> parameters,
              std::vector<Range>& ranges);

  // PERSISTENT RESERVE OUT of `port`. Blocks while the new state is saved, where it is to be kept:
  // may_block() returns true then.
  struct ReserveAnswer {
    Plan plan{};
    // The initiator ports whose tasks have to end, a PREEMPT AND ABORT's. The command is answered
    // when they have: a write of a fenced initiator never lands after it.
    std::vector<std::string> preempted{};
  };
  ReserveAnswer reserve_out(const std::string& port, const Cdb& cdb,
                            std::span<const uint8_t> parameters);
  bool may_block() const { return save_ != nullptr; }

  // EXTENDED COPY with this parameter list: what refuses it, or a plan of kCopy. Then `run` names
  // the blocks; it stays where it is until end_copy(), which follows before the answer is sent.
  Plan begin_copy(Nexus& nexus, const Cdb& cdb, std::span<const uint8_t> parameters, CopyRun& run);
  void end_copy(Nexus& nexus, const CopyRun& run, const Plan& answer);
  // A part of a copy that reads from this unit, or writes to it: a plan of kRead or kWrite, or what
  // READ or WRITE of `nexus` would be answered with. Unit attentions stay pending.
  Plan copy_part(Nexus& nexus, CopySide side, const Range& blocks);

  // LOGICAL UNIT RESET, or a reset of the whole target: resets mode parameters and the stopped
  // state, and every nexus gets a unit attention. Persistent reservations stay.
  void reset(const Sense& attention);

 private:
  // Takes the copy again when it is stale.
  const Nexus::View& view(Nexus& nexus);
  // The mutex is held.
  void raise_locked(const Sense& attention, const Nexus* but = nullptr);
  void mark_all_stale();
  // The operation, unless this unit lacks what it needs: UNMAP is for thin units, WRITE LONG for
  // those whose blocks can be marked.
  const Operation* supported(const Operation* operation) const;
  // What a command is carried out by. unit_commands.cc holds the table of them.
  struct Request {
    Nexus& nexus;
    const Operation& operation;
    const Cdb& cdb;
    std::vector<uint8_t>& data_in;
  };
  struct ParameterList {
    Nexus& nexus;
    const Cdb& cdb;
    std::span<const uint8_t> bytes;
    std::vector<Range>& ranges;
  };
  struct Handler;
  static const Handler kHandlers[];
  static const Handler& handler_of(Command command);

  // unit_commands.cc
  Plan test_unit_ready(const Request& request);
  Plan answer_inquiry(const Request& request);
  Plan request_sense(const Request& request);
  Plan start_stop(const Request& request);
  Plan read_capacity10(const Request& request);
  Plan read_capacity16(const Request& request);
  Plan get_lba_status(const Request& request);
  Plan answer_mode_sense(const Request& request);
  Plan take_list6(const Request& request);
  Plan take_list10(const Request& request);
  Plan select_mode(const ParameterList& list);
  Plan reserve_in(const Request& request);
  Plan take_reserve_list(const Request& request);
  Plan reserve_out_later(const ParameterList& list);
  Plan not_here(const Request& request);
  Plan report_groups(const Request& request);
  Plan take_groups_list(const Request& request);
  Plan set_groups(const ParameterList& list);
  // unit_copies.cc
  Plan take_copy_list(const Request& request);
  Plan copy_later(const ParameterList& list);
  Plan receive_copy_status(const Request& request);
  Plan receive_copy_parameters(const Request& request);
  Plan receive_copy_details(const Request& request);
  // report_opcodes.cc
  Plan supported_opcodes(const Request& request);
  Plan supported_functions(const Request& request);
  // medium_access.cc
  struct Transfer;
  Plan move(const Request& request, const Transfer& transfer);
  Plan read(const Request& request);
  Plan write(const Request& request);
  Plan write_and_verify(const Request& request);
  Plan verify(const Request& request);
  Plan compare_and_write(const Request& request);
  Plan write_same(const Request& request);
  Plan write_long(const Request& request);
  Plan synchronize_cache(const Request& request);
  Plan take_unmap_list(const Request& request);
  Plan unmap(const ParameterList& list);
  bool write_protected(const Nexus& nexus) const {
    return facts_.read_only || nexus.view_.mode.write_protect;
  }
  // There is a cache, and it is switched off: every write goes to the medium.
  bool write_through(const Nexus& nexus) const {
    return facts_.volatile_cache && !nexus.view_.mode.write_cache;
  }

  const UnitFacts facts_;
  const ModeState default_mode_;
  const SaveReservations save_;
  std::mutex reserving_;  // one PERSISTENT RESERVE OUT at a time; outside mutex_
  mutable std::mutex mutex_;
  ModeState mode_;
  Reservations reservations_;  // changed with both mutexes held
  std::vector<Nexus*> nexuses_;
  bool stopped_ = false;
  bool replaced_ = false;
  AccessState access_ = AccessState::kOptimized;
  AccessState configured_access_ = AccessState::kOptimized;
  AccessChange access_change_ = AccessChange::kNone;
  uint64_t blocks_;
  uint64_t resets_ = 0;
  // Copies under way. Relaxed: a bound, nothing else depends on it.
  std::atomic<uint32_t> copies_{0};
};

}  // namespace mrpool::scsi
