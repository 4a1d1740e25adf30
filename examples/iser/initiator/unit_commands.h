// READs and WRITEs of one unit, with the retries of attempts.h.
//
// After a unit attention, no command is sent until the unit was compared with the one at the start
// of the work. If it is another unit, every command ends with Aborted.
//
// Thread safety: the reactor's thread. Ownership: the caller owns the session, the unit and the
// commands; the session and the unit outlive it. Destroy it while no command is active.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "examples/iser/initiator/attempts.h"
#include "examples/iser/initiator/unit.h"
#include "mrpool/reactor.h"

namespace mrpool::iser {

class UnitCommands {
 public:
  // A transfer between blocks of the unit and memory.
  class Transfer : public Command {
   public:
    // `ended` runs once for each submit(), from the loop. DataLoss: the target refused, or
    // transferred less or more than requested. Unavailable and others: the session was lost.
    using Ended = void (*)(Transfer& self, const absl::Status& status);
    explicit Transfer(Ended ended);

   private:
    friend class UnitCommands;
    void answered() { owner_->judge(*this); }
    void again() { owner_->send(*this); }

    const Ended ended_;
    UnitCommands* owner_ = nullptr;
    Attempts attempts_;
    Bound<Timer, &Transfer::again> retry_{*this};
  };

  // `room` has UnitReader::kBuffer bytes, registered with the session's Pd.
  UnitCommands(Session& session, Reactor& reactor, const Unit& unit, uint64_t lun, const Sge& room);
  UnitCommands(const UnitCommands&) = delete;
  UnitCommands& operator=(const UnitCommands&) = delete;

  // READ(16) or WRITE(16) of `data` at `offset` of the unit, both multiples of its blocks.
  void submit(Transfer& transfer, bool write, uint64_t offset, const Sge& data);
  // True if commands wait until the unit was compared.
  bool holds() const { return !held_.empty(); }
  // Ends all waits before retries.
  void hurry();

 private:
  void send(Transfer& transfer);
  void judge(Transfer& transfer);
  void end(Transfer& transfer, const absl::Status& status);
  void looked(const absl::StatusOr<Unit>& unit);

  Session& session_;
  Reactor& reactor_;
  const Unit& unit_;
  const uint64_t lun_;
  UnitReader reader_;
  std::vector<Transfer*> held_;     // until the unit was compared
  std::vector<Transfer*> delayed_;  // waiting for their next attempt
};

}  // namespace mrpool::iser
