// An initiator that makes visits: a session of examples/iser/initiator from login to logout, on a
// device that may receive or send changed messages.
//
// Thread safety: one thread. Ownership: the simulation, device and listener outlive it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "examples/iser/initiator/session.h"
#include "examples/iser/initiator/unit.h"
#include "examples/load/buffer.h"
#include "mrpool/mr_pool.h"
#include "tests/sim/simulation.h"

namespace mrpool::sim {

struct IserVisitorOptions {
  std::string initiator;  // its name
  std::string target;
  iscsi::Credentials chap{};
  bool counted = true;  // its commands are progress of the simulation
  bool reads_only = false;
  Nanoseconds patience = std::chrono::seconds(2);  // with a command
  // Commands are about to be sent, and none is outstanding.
  std::function<void()> begin = [] {};
  // A command was reported as done.
  std::function<void()> done = [] {};
};

class IserVisitor {
 public:
  IserVisitor(Simulation& simulation, Device& device, IserVisitorOptions options);
  ~IserVisitor();

  void visit();
  bool visiting() const { return session_ != nullptr; }
  Nanoseconds since() const { return since_; }
  // True if all commands of the last visit succeeded.
  bool went_well() const { return went_well_; }
  // Continues the visit and checks its memory; called once a step.
  void step();
  void check_resources();
  std::string state() const;

 private:
  struct Slot;

  void ready(const absl::Status& status);
  void looked(const absl::StatusOr<iser::Unit>& unit);
  void move_data();
  void start(Slot& slot);
  void finished(Slot& slot);
  void ask();
  void leave(bool well);
  void end();

  Simulation& simulation_;
  Device& device_;
  const IserVisitorOptions options_;
  std::unique_ptr<Pd> pd_;
  std::unique_ptr<MrPool> pool_;
  std::unique_ptr<load::Buffer> page_;
  std::vector<std::unique_ptr<Slot>> slots_;
  std::unique_ptr<iser::Session> session_;
  std::unique_ptr<iser::UnitReader> reader_;
  iser::Unit unit_;
  Nanoseconds since_{};
  uint32_t under_way_ = 0;  // whatever waits for an answer
  uint32_t rounds_ = 0;     // that are left
  uint64_t failed_ = 0;
  bool discovery_ = false;
  bool moving_ = false;
  bool left_ = false;
  bool went_well_ = false;
};

}  // namespace mrpool::sim
