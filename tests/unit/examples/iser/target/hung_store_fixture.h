// The tests of iser_target::Connection with simulated time and a store that can hang.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <string>

#include "examples/storage/faults.h"
#include "tests/sim/reactor.h"
#include "tests/unit/examples/iser/target/connection_fixture.h"

namespace mrpool::iser_target {

// Shorter than the silence after which the target asks whether the initiator lives.
inline constexpr Nanoseconds kHangs = std::chrono::seconds(15);

class HungStoreTest : public ConnectionTest {
 protected:
  HungStoreTest() {
    Config config;
    config.targets.push_back({.name = kDisk, .luns = {"ram:1MiB"}});
    Environment environment;
    environment.open_volume = [this](std::string_view spec, const storage::OpenOptions& options) {
      auto volume = storage::open(spec, options);
      stores[std::string(spec)] = *volume;
      return absl::StatusOr<std::shared_ptr<storage::Volume>>(
          storage::with_faults(*volume, faults));
    };
    site = *Site::create(config, {&clock}, environment);
    link.clock = clock.now();
  }
  ~HungStoreTest() override {
    for (const auto& connection : connections) connection->closed();
    run_for(2 * kHangs);
    connections.clear();
    site.reset();
  }

  // The clock jumps from timer to timer: this one is where it stops.
  void run_for(Nanoseconds time) {
    struct End : Timer {
      End() : Timer([](Timer&) {}) {}
    } end;
    end.arm(clock, time);
    while (end.armed()) clock.step();
    link.clock = clock.now();
  }
  // The same with looks at the connections.
  void wait(Nanoseconds time) {
    for (const Nanoseconds end = clock.now() + time; clock.now() < end;) {
      run_for(engine::kTick);
      for (const auto& connection : connections) {
        connection->tick();
        connection->linger();
      }
    }
  }

  std::map<std::string, std::shared_ptr<storage::Volume>> stores;  // below the faults, by spec
  sim::SimReactor clock;
  std::shared_ptr<storage::FaultPlan> faults = std::make_shared<storage::FaultPlan>();
};

}  // namespace mrpool::iser_target
