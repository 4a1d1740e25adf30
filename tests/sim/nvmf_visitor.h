// A host that makes visits: a session of examples/nvmf/host from connect to disconnect, on a device
// that may receive or send changed messages.
//
// Thread safety: one thread. Ownership: the simulation, device and listener outlive it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "examples/nvmf/host/session.h"
#include "mrpool/mr_pool.h"
#include "tests/sim/simulation.h"

namespace mrpool::sim {

struct NvmfVisitorOptions {
  std::string host;  // its NQN
  std::string subsystem;
  bool counted = true;  // its commands are progress of the simulation
  bool reads_only = false;
  Nanoseconds patience = std::chrono::seconds(2);  // with a command
  // A command was reported as done.
  std::function<void(uint16_t command_id)> done = [](uint16_t) {};
};

class NvmfVisitor final : private nvme::host::Session::News {
 public:
  NvmfVisitor(Simulation& simulation, Device& device, NvmfVisitorOptions options);
  ~NvmfVisitor();

  void visit();
  bool visiting() const { return visiting_; }
  Nanoseconds since() const { return since_; }
  // True if all commands of the last visit succeeded.
  bool went_well() const { return went_well_; }
  // Checks its memory; called once a step.
  void step();
  void check_resources();
  std::string state() const;

 private:
  struct Slot;

  void on_event(const std::string&) override {}
  void on_over(const absl::Status& why) override;
  void make_session(bool discovery);
  nvme::host::Async<> stay(bool discovery);
  nvme::host::Async<bool> read_log();
  nvme::host::Async<bool> move_data();
  void start(Slot& slot, const nvme::host::NamespaceInfo& ns);
  void finished(Slot& slot, const nvme::host::Outcome& outcome);

  Simulation& simulation_;
  Device& device_;
  const NvmfVisitorOptions options_;
  std::unique_ptr<Pd> pd_;
  std::unique_ptr<MrPool> pool_;
  std::vector<std::unique_ptr<Slot>> slots_;
  std::unique_ptr<nvme::host::Session> session_;
  Nanoseconds since_{};
  uint32_t under_way_ = 0;
  uint64_t failed_ = 0;
  bool visiting_ = false;
  bool went_well_ = false;
  const char* phase_ = "at home";
};

}  // namespace mrpool::sim
