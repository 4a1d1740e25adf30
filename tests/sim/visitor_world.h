// A world of one hostile target and the initiators of examples/ that use it.
//
// The target is the program's own on a device that changes its messages (lying_device.h), with slow
// storage, on a network that stalls. A visitor connects, queries the target, transfers data and
// disconnects, again and again. For every message that it receives:
//
//   memory     no byte changes except by a command that lent it (and every step, under a sanitizer)
//   once       each command is answered once
//   bounded    a visit ends, within kLongestVisit of virtual time
//   truth      a command that is reported as done was reported as done by the target
//   whole      no MR and no connection is leaked
//
// Without changed messages, a visit of each succeeds.
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "examples/storage/stores.h"
#include "tests/sim/lying_device.h"
#include "tests/sim/simulation.h"
#include "tests/sim/volume.h"
#include "transport/uiwarp/open.h"

namespace mrpool::sim {

// `Visitor` has visit, visiting, since, went_well, step, check_resources and state.
template <typename Visitor>
class VisitorWorld : public Simulation {
 public:
  using Simulation::Simulation;

  void run() final {
    faults = true;
    network->set_options(bad_network());
    while (steps < kWildSteps) {
      for (const auto& visitor : visitors_) {
        if (!visitor->visiting()) visitor->visit();
      }
      step();
    }
    run_until("the last visits to end", [&] { return all(&Visitor::visiting, false); });
    faults = false;
    lies_->per_thousand = 0;
    network->set_options({.seed = seed});
    for (const auto& visitor : visitors_) visitor->visit();
    run_until("the honest visits to end", [&] { return all(&Visitor::visiting, false); });
    if (!all(&Visitor::went_well, true)) violate("a visit without lies went wrong");
    for (const auto& visitor : visitors_) visitor->check_resources();
    run_until("the connections to end", [&] { return network->open_connections() == 0; });
    bool stopped = false;
    stop_target([&] { stopped = true; });
    run_until("the target to stop", [&] { return stopped; });
  }
  std::string state() const final {
    std::string text;
    for (const auto& visitor : visitors_) text += "visitor: " + visitor->state() + "\n";
    return text + "target: " + std::to_string(lies_->told) + " lies\n";
  }

 protected:
  static constexpr Nanoseconds kLongestVisit = std::chrono::minutes(10);
  static constexpr uint64_t kWildSteps = 10'000;

  virtual void stop_target(std::function<void()> stopped) = 0;
  // Receives each message that the target sends.
  virtual void sent(std::span<const std::byte> message) = 0;

  // Opens the network and the visitors' device; returns the target's device, which changes
  // messages.
  std::shared_ptr<Device> open_devices() {
    network = std::make_shared<SimNetwork>(reactor, NetworkOptions{.seed = seed});
    const bool crc = chance(500);
    device = uiwarp::make_device({.crc = crc, .seed = seed}, network);
    constexpr uint32_t kRates[] = {5, 20, 100, 300};
    lies_ = std::make_shared<Lies>(seed, kRates[below(std::size(kRates))]);
    lies_->sent = [this](std::span<const std::byte> message) { sent(message); };
    return make_lying_device(uiwarp::make_device({.crc = crc, .seed = seed + 1}, network), lies_);
  }
  // Volumes that are slow and never fail, so that an honest visit succeeds.
  storage::OpenVolume slow_volumes() {
    SimVolumeOptions slow = bad_storage(*this);
    slow.errors_per_thousand = 0;
    return [this, slow](std::string_view spec, const storage::OpenOptions& how)
               -> absl::StatusOr<std::shared_ptr<storage::Volume>> {
      auto ram = storage::open(spec, how);
      if (!ram.ok()) return ram.status();
      return make_sim_volume(*std::move(ram), *this, slow);
    };
  }

  std::shared_ptr<Lies> lies_;
  std::vector<std::unique_ptr<Visitor>> visitors_;

 private:
  bool all(bool (Visitor::*is)() const, bool wanted) const {
    return std::ranges::all_of(visitors_,
                               [&](const auto& visitor) { return ((*visitor).*is)() == wanted; });
  }
  void after_step() final {
    for (const auto& visitor : visitors_) {
      visitor->step();
      if (visitor->visiting() && reactor.now() - visitor->since() > kLongestVisit) {
        violate("a visit does not end");
      }
    }
  }
};

}  // namespace mrpool::sim
