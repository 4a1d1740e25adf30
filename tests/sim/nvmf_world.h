// The NVMe-oF programs in one thread under one seed: the target of examples/nvmf/target and hosts
// of examples/nvmf/host. The storage delays and fails (volume.h), and the network splits, delays,
// stalls and breaks.
//
// Only their external dependencies are replaced: reactor, network, storage, identity. Hosts read
// and write their own blocks, and change one block of all by Compare and Write. Connections break,
// hosts drop theirs, and controllers are reset under load. The sessions reconnect and repeat
// outstanding commands.
//
// The invariants are those of world.h: memory, once, durable, protocol, resources, progress.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "examples/nvmf/target/service.h"
#include "examples/storage/storage.h"
#include "tests/sim/admission.h"
#include "tests/sim/attacked_world.h"
#include "tests/sim/nvmf_contender.h"
#include "tests/sim/nvmf_visitor.h"
#include "tests/sim/strangers.h"

namespace mrpool::sim {

class NvmfHost;

class NvmfWorld final : public AttackedWorld<NvmfHost> {
 public:
  NvmfWorld(uint64_t seed, Plant plant, Violated violated);
  ~NvmfWorld() override;

  // A block of the storage.
  std::span<std::byte> block(uint32_t number);
  std::vector<std::string_view> all_moves() const override;
  const Admission& admission() const { return admission_; }
  // What all hosts change by Compare and Write.
  LockBlock& lock() { return lock_; }
  // True if the hosts' store was truncated below their blocks.
  bool was_cut() const { return was_cut_; }

 private:
  void connect() override;
  void disturb() override;
  void calm_down() override;
  void go_on() override;
  void make_lock();
  void invite_strangers();
  void expect_bad_peers();
  bool reads_in_place() const override { return in_place_; }
  bool others_left() override { return strangers_ == nullptr || strangers_->left(); }
  void hang();
  // Gives the nsid to another store, or back to the hosts' own.
  void swap();
  // Truncates or extends the hosts' store; the target may or may not check it.
  void resize(uint64_t bytes);
  // Admits or refuses a host by a reload.
  void admit(size_t host, bool admitted);
  void reload();
  void check_step() override;
  size_t connections() const override { return service_->engine().connections(); }
  std::string target_state() const override;
  void check_target() override;
  void stop_target(std::function<void()> stopped) override;
  void check_stopped() override;

  std::shared_ptr<storage::Volume> ram_;
  std::shared_ptr<storage::Volume> other_;  // that no host means
  std::shared_ptr<storage::Volume> lock_store_;
  LockBlock lock_{*this};
  nvmf_target::Config config_;
  Nanoseconds hung_until_{};
  uint64_t whole_ = 0;  // bytes: the blocks of all hosts
  uint64_t size_ = 0;   // of the hosts' own store now
  bool was_cut_ = false;
  bool in_place_ = false;
  Admission admission_{0};
  std::unique_ptr<nvmf_target::Service> service_;
  uint32_t workers_ = 0;
  std::unique_ptr<Strangers<NvmfVisitor>> strangers_;
};

}  // namespace mrpool::sim
