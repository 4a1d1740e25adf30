// The programs themselves in one thread under one seed: the NVMe-oF target of examples/nvmf/target
// and hosts made of examples/nvmf/host, with storage that delays and fails (volume.h) and the
// network that splits, delays, stalls and breaks.
//
// Nothing of them is replaced but what they take from outside: reactor, network, storage, identity.
// Hosts read and write blocks of their own; connections break, hosts drop theirs, controllers are
// reset under load; the sessions reconnect and repeat what was under way.
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
#include "tests/sim/host_world.h"

namespace mrpool::sim {

class NvmfHost;

class NvmfWorld final : public HostWorld<NvmfHost> {
 public:
  NvmfWorld(uint64_t seed, Plant plant, Violated violated);
  ~NvmfWorld() override;

  // What lies in the storage.
  std::span<std::byte> block(uint32_t number);
  std::vector<std::string_view> all_moves() const override;

 private:
  void connect() override;
  void disturb() override;
  void calm_down() override;
  void hang();
  // Another store stands behind the namespace number from now on, or the hosts' own again.
  void swap();
  void check_step() override;
  size_t connections() const override { return service_->engine().connections(); }
  std::string target_state() const override;
  void check_target() override;
  void stop_target(std::function<void()> stopped) override;
  void check_stopped() override;

  std::shared_ptr<storage::Volume> ram_;
  std::shared_ptr<storage::Volume> other_;  // that no host means
  nvmf_target::Config config_;
  Nanoseconds hung_until_{};
  std::unique_ptr<nvmf_target::Service> service_;
  uint32_t workers_ = 0;
};

}  // namespace mrpool::sim
