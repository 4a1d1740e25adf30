// A simulated initiator: commands on its own blocks, each with a separate key, and a model of the
// blocks.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "mrpool/mr_pool.h"
#include "mrpool/qp.h"
#include "tests/sim/blocks.h"
#include "tests/sim/storage.h"
#include "tests/sim/world.h"

namespace mrpool::sim {

class Initiator final : public QpEvents {
 public:
  static constexpr uint32_t kBlocks = 32;  // that it owns
  static constexpr uint32_t kSlots = 8;    // commands at a time

  Initiator(World& world, uint32_t number);
  ~Initiator();

  // Connects, sends commands and checks its memory; called once a step.
  void step();
  void kill();
  void finish() { finishing_ = true; }  // no more commands
  bool idle() const;
  std::string state() const;
  void disconnect();
  bool disconnected() const { return qp_ == nullptr; }
  void check_resources();
  void check_store();  // the target's store against the model

  uint64_t completed = 0;

 private:
  struct Slot;
  enum class Phase : uint8_t { kDown, kConnecting, kUp, kEnding };

  void on_connected(Qp& qp, const ConnectionInfo& info) override;
  void on_rejected(Qp& qp, std::span<const std::byte> private_data) override;
  void on_disconnected(Qp& qp, const Disconnect& why) override;

  void connect();
  void start(Slot& slot);
  void answered(Slot& receiver, const WorkCompletion& wc);
  void key_ended(Slot& slot);
  void finish(Slot& slot, bool acknowledged);
  void release(Slot& slot);
  Slot* slot_of(uint32_t id);

  World& world_;
  const uint32_t number_;
  std::unique_ptr<Pd> pd_;
  std::unique_ptr<Cq> cq_;
  std::unique_ptr<MrPool> pool_;
  std::vector<std::unique_ptr<Slot>> slots_;
  std::unique_ptr<Qp> qp_;
  Phase phase_ = Phase::kDown;
  Nanoseconds retry_at_{};
  bool finishing_ = false;
  uint32_t next_id_ = 1;
  BlockModel model_;
};

}  // namespace mrpool::sim
