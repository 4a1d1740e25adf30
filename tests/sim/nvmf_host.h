// A host of the NVMe-oF world: a session of examples/nvmf/host with commands on its own blocks, and
// a model of the blocks.
//
// Thread safety: one thread. Ownership: the world owns it; call close() before it is destroyed.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "examples/nvmf/host/session.h"
#include "mrpool/mr_pool.h"
#include "tests/sim/blocks.h"
#include "tests/sim/nvmf_contender.h"
#include "tests/sim/nvmf_world.h"

namespace mrpool::sim {

class NvmfHost final : private nvme::host::Session::News {
 public:
  static constexpr uint32_t kBlocks = 32;  // that it owns
  static constexpr uint32_t kSlots = 8;    // commands at a time
  static constexpr const char* kSubsystem = "nqn.2026-11.org.mrpool:sim";

  static std::string nqn(uint32_t number);

  NvmfHost(NvmfWorld& world, uint32_t number);
  ~NvmfHost();

  void open();
  bool opened() const { return opened_; }
  // Sends commands and checks its memory; called once a step.
  void step();
  // Drops one of its connections.
  void kill();
  // Sets CC.EN to 0 under load.
  void reset();
  // Sends an Abort for one of its commands.
  void abort();
  void finish() { finishing_ = true; }  // no more commands
  bool idle() const;
  std::string state() const;
  void close();
  bool closed() const { return closed_; }
  void check_store();
  void check_resources();

  // From now on sends a command at most once in that period, and aborts no old commands.
  void pace(Nanoseconds period) { pace_ = period; }
  bool connected() const;
  // The start of the oldest unanswered command; max() if there is none.
  Nanoseconds oldest_command() const;
  // Drops a connection.
  void drop() { kill(); }

  uint64_t completed = 0;

 private:
  struct Slot;
  struct Reset;
  struct Abort;

  void on_event(const std::string& text) override;
  void on_over(const absl::Status& why) override;
  void make_session();
  nvme::host::Async<> open_session();
  nvme::host::Async<bool> try_to_open();
  nvme::host::Async<> open_again();
  nvme::host::Async<> close_session();
  void start(Slot& slot);
  void finished(Slot& slot, const nvme::host::Outcome& outcome);
  // Checks that it is served or refused as its admission requires.
  void check_admitted();
  void check_refused();

  NvmfWorld& world_;
  const uint32_t number_;
  uint32_t queues_ = 1;
  uint16_t depth_ = 1;
  const std::shared_ptr<Device> device_;
  std::unique_ptr<Pd> pd_;
  std::unique_ptr<MrPool> pool_;
  std::unique_ptr<nvme::host::Session> session_;
  std::vector<std::unique_ptr<Slot>> slots_;
  std::unique_ptr<Reset> reset_;
  std::unique_ptr<Abort> abort_;
  std::unique_ptr<Contender> contender_;
  std::optional<nvme::host::NamespaceInfo> mine_;
  bool opened_ = false;
  bool opening_ = false;
  bool finishing_ = false;
  bool closed_ = false;
  Nanoseconds pace_{};
  Nanoseconds next_{};
  BlockModel model_;
};

}  // namespace mrpool::sim
