// Hostile initiators next to the honest hosts of a world: programs of examples/ on a device that
// changes their messages (lying_device.h), with their own disk on the same target.
//
// They use a separate seed, except for their sessions. They return as soon as they are dropped, and
// leave when the hosts have made progress next to them.
//
// Thread safety: one thread. Ownership: the simulation outlives them.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/sim/lying_device.h"
#include "tests/sim/simulation.h"
#include "transport/uiwarp/open.h"

namespace mrpool::sim {

template <typename Visitor>
class Strangers {
 public:
  template <typename Options>
  Strangers(Simulation& simulation, uint32_t count, Options options)
      : lies_(std::make_shared<Lies>(simulation.seed, 100)),
        device_(make_lying_device(
            uiwarp::make_device({.crc = false, .seed = simulation.seed + 2}, simulation.network),
            lies_)) {
    for (uint32_t i = 0; i < count; ++i) {
      visitors_.push_back(std::make_unique<Visitor>(simulation, *device_, options(i)));
    }
  }

  void step() {
    for (const auto& each : visitors_) {
      each->step();
      if (!each->visiting() && !leaving_) each->visit();
    }
  }
  bool left() {
    leaving_ = true;
    lies_->per_thousand = 0;
    return std::ranges::none_of(visitors_, [](const auto& each) { return each->visiting(); });
  }
  std::string state() const {
    std::string text;
    for (const auto& each : visitors_) text += "; a stranger " + each->state();
    return text;
  }

 private:
  const std::shared_ptr<Lies> lies_;
  const std::shared_ptr<Device> device_;
  std::vector<std::unique_ptr<Visitor>> visitors_;
  bool leaving_ = false;
};

}  // namespace mrpool::sim
