// A logical unit's device server: CDBs in, plans out. It answers what needs no medium by itself and
// tells for everything else which blocks to move; moving them is execution.h's.
//
// begin() takes a command as it arrives. A plan that says kParameters needs the parameter list
// first and goes on with finish(). Checks follow SAM-5 §5.14 and SPC-4: unit attentions before
// reservations before the CDB's own fields.
//
// Thread safety: one thread. Ownership: a Nexus belongs to the session and must be detached before
// it ends.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "examples/protocol/scsi/mode.h"
#include "examples/protocol/scsi/opcodes.h"
#include "examples/protocol/scsi/reservations.h"
#include "examples/protocol/scsi/sense.h"
#include "examples/protocol/scsi/unit.h"

namespace mrpool::scsi {

// One initiator port at one logical unit: its pending unit attentions, oldest first.
class Nexus {
 public:
  explicit Nexus(std::string port) : port_(std::move(port)) {}
  Nexus(const Nexus&) = delete;
  Nexus& operator=(const Nexus&) = delete;

  const std::string& port() const { return port_; }
  // Each condition is pending once; a reset replaces all that came before it.
  void raise(const Sense& attention);
  std::optional<Sense> take_attention();
  void clear(const Sense& attention);

 private:
  std::string port_;
  std::vector<Sense> attentions_;
};

struct Range {
  uint64_t lba = 0;
  uint64_t blocks = 0;
};

struct Plan {
  enum class Kind : uint8_t {
    kDone,             // `status`, `sense`; data-in is what begin() produced
    kParameters,       // fetch `data_out` bytes, then finish()
    kRead,             // blocks → data-in
    kWrite,            // data-out → blocks
    kWriteAndVerify,   // and read them back; `compare` against what was written
    kVerify,           // read; `compare` against data-out
    kCompareAndWrite,  // first half of data-out against the blocks, then the second half
    kWriteSame,        // one block of data-out over all blocks
    kZero,             // zeroes over all blocks
    kUnmap,            // `ranges`
    kFlush,
  };
  Kind kind = Kind::kDone;
  Status status = Status::kGood;
  Sense sense{};
  uint64_t lba = 0;
  uint64_t blocks = 0;
  uint64_t data_out = 0;  // bytes the initiator has to send
  bool fua = false;
  bool compare = false;
  bool deallocate = false;  // kWriteSame of zeroes, kZero

  bool reads_medium_into_data_in() const { return kind == Kind::kRead; }
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
  Reservations& reservations() { return reservations_; }
  const ModeState& mode() const { return mode_; }

  void attach(Nexus& nexus);
  void detach(Nexus& nexus);

  // `data_in` is filled for commands answered here, whole: the caller cuts it to the allocation
  // length it is given in `allocation`.
  Plan begin(Nexus& nexus, const Cdb& cdb, std::vector<uint8_t>& data_in);
  Plan finish(Nexus& nexus, const Cdb& cdb, std::span<const uint8_t> parameters,
              std::vector<Range>& ranges);

  // The initiator ports whose tasks the last finish() has to end, a PREEMPT AND ABORT's; asked for
  // once. The command is answered when those tasks have ended: a write of a fenced initiator never
  // lands behind it.
  std::vector<std::string> take_preempted() { return std::exchange(preempted_, {}); }

  // LOGICAL UNIT RESET, or a reset of the whole target: mode parameters and the stopped state go
  // back, and every nexus hears of it. Persistent reservations stay.
  void reset(const Sense& attention);
  void raise_for_all(const Sense& attention, const Nexus* but = nullptr);

 private:
  Plan dispatch(Nexus& nexus, const Operation& operation, const Cdb& cdb,
                std::vector<uint8_t>& data_in);
  // The operation, unless this unit lacks what it needs: UNMAP is for thin units.
  const Operation* supported(const Operation* operation) const;
  Plan read_write(const Operation& operation, const Cdb& cdb);
  Plan write_same(const Operation& operation, const Cdb& cdb);
  Plan start_stop(Nexus& nexus, const Cdb& cdb);
  Plan read_capacity(const Cdb& cdb, bool sixteen, std::vector<uint8_t>& data_in);
  Plan get_lba_status(const Cdb& cdb, std::vector<uint8_t>& data_in);
  Plan request_sense(Nexus& nexus, const Cdb& cdb, std::vector<uint8_t>& data_in);
  Plan supported_opcodes(const Cdb& cdb, std::vector<uint8_t>& data_in);
  static Plan supported_functions(const Cdb& cdb, std::vector<uint8_t>& data_in);
  Plan reserve_out(Nexus& nexus, const Cdb& cdb, std::span<const uint8_t> parameters);
  Plan unmap(std::span<const uint8_t> parameters, std::vector<Range>& ranges);
  bool write_protected() const { return facts_.read_only || mode_.write_protect; }
  // There is a cache, and it is switched off: every write goes to the medium.
  bool write_through() const { return facts_.volatile_cache && !mode_.write_cache; }

  UnitFacts facts_;
  ModeState default_mode_;
  ModeState mode_;
  Reservations reservations_;
  SaveReservations save_;
  std::vector<std::string> preempted_;
  std::vector<Nexus*> nexuses_;
  bool stopped_ = false;
};

// How many bytes of data-in the CDB leaves room for; nothing for commands without an allocation
// length.
std::optional<uint64_t> allocation_length(const Cdb& cdb);

}  // namespace mrpool::scsi
