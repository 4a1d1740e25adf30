// An initiator of the iSER world: a session of examples/iser/initiator with commands on its own
// blocks of every unit of its target, and a model of the blocks.
//
// Thread safety: one thread. Ownership: the world owns it.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "examples/iser/initiator/session.h"
#include "examples/iser/initiator/unit.h"
#include "examples/load/buffer.h"
#include "mrpool/mr_pool.h"
#include "tests/sim/blocks.h"
#include "tests/sim/iser_world.h"

namespace mrpool::sim {

class IserHost {
 public:
  static constexpr uint32_t kBlocks = 64;  // that it owns on a unit
  static constexpr uint32_t kSlots = 6;    // commands at a time

  static std::string name(size_t number);

  IserHost(IserWorld& world, uint32_t number);
  ~IserHost();

  // Logs in, sends commands and checks its memory; called once a step.
  void step();
  // Drops its connection, logs out or resets something, with commands outstanding, if it has a
  // session.
  void kill();
  void log_out();
  void manage();
  void finish() { finishing_ = true; }  // no more commands
  bool idle() const;
  std::string state() const;
  // Checks the session's window once more and logs out permanently.
  void close();
  bool closed() const { return session_ == nullptr; }
  void check_store();
  void check_resources();

  // From now on sends a command at most once in that period, and aborts no old commands.
  void pace(Nanoseconds period) { pace_ = period; }
  bool connected() const { return full_feature(); }
  // The start of the oldest unanswered command; max() if there is none.
  Nanoseconds oldest_command() const;
  // Drops its connection.
  void drop() { kill(); }

  uint64_t completed = 0;

 private:
  struct Slot;
  struct Function;
  // This host's knowledge of a unit.
  struct Known {
    std::string serial{};  // of its own disk; empty before the first look
    uint64_t blocks = 0;
    bool mine = false;
    bool changed = true;  // it may be another one by now
  };

  void log_in();
  void ready(const absl::Status& status);
  void ended();
  void start(Slot& slot);
  // Makes a copy of the write that was chosen, if there can be one.
  bool start_copy(Slot& slot);
  void finished(Slot& slot);
  // By the sense data of a copy that failed.
  Fate fate_of_copy(Slot& slot);
  void overdue(Slot& slot);
  // Reads the identity of a unit again, if necessary.
  void look();
  void looked(uint16_t unit, const absl::StatusOr<iser::Unit>& found);
  void ping();
  bool access_changed() const { return world_.access_changes() != access_changes_; }
  bool full_feature() const { return session_ != nullptr && session_->connected(); }

  IserWorld& world_;
  const uint32_t number_;
  const uint32_t target_;
  const std::shared_ptr<Device> device_;
  std::unique_ptr<Pd> pd_;
  std::unique_ptr<MrPool> pool_;
  std::vector<BlockModel> models_;  // by unit
  std::vector<std::unique_ptr<Slot>> slots_;
  std::unique_ptr<Function> function_;
  std::unique_ptr<iser::Session> session_;
  std::unique_ptr<load::Buffer> page_;
  std::array<std::unique_ptr<iser::UnitReader>, IserWorld::kUnits> readers_;  // of session_
  std::array<Known, IserWorld::kUnits> units_;
  bool looking_ = false;
  bool right_ = true;            // this login was to be let in when it began
  uint64_t access_changes_ = 0;  // when it began
  bool pinging_ = false;
  bool finishing_ = false;
  Nanoseconds retry_at_{};
  Nanoseconds pace_{};
  Nanoseconds next_{};
};

}  // namespace mrpool::sim
