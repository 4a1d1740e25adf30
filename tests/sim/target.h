// The simulated target: sessions over one RAM store, with shared pools that are often too small.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "mrpool/mr_pool.h"
#include "mrpool/qp.h"
#include "tests/sim/storage.h"
#include "tests/sim/world.h"

namespace mrpool::sim {

class Session;

class Target final : public ListenHandler {
 public:
  Target(World& world, uint32_t blocks);
  ~Target();

  void on_connect_request(std::unique_ptr<ConnectRequest> request) override;

  // Destroys sessions whose connection has ended and whose jobs are idle, and accepts connections
  // that waited for this.
  void reap();
  bool idle() const { return sessions_.empty() && arrivals_.empty(); }
  void kill_one();
  std::string state() const;
  // Checks that all resources were returned.
  void check_resources();
  std::span<std::byte> block(uint32_t number) {
    return std::span(store_).subspan(size_t{number} * kBlockBytes, kBlockBytes);
  }

  World& world;
  uint16_t port() const { return listener_->port(); }

 private:
  friend class Session;
  struct Arrival {
    uint32_t initiator;
    std::unique_ptr<ConnectRequest> request;
  };
  void accept(Arrival arrival);
  std::vector<std::byte> store_;
  std::unique_ptr<Pd> pd_;
  std::unique_ptr<Cq> cq_;
  std::unique_ptr<MrPool> pool_;
  std::vector<MrPool::Lease> lost_;  // by a plant
  std::vector<std::unique_ptr<Session>> sessions_;
  std::vector<Arrival> arrivals_;  // initiators whose earlier session has not ended
  std::unique_ptr<Listener> listener_;
};

}  // namespace mrpool::sim
