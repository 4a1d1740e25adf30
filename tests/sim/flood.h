// A flood of connections from one stranger. It dials at any rate, sends the beginning of a recorded
// connection (place.h), stops there, and dials again.
//
// Thread safety: one thread. Ownership: the simulation outlives it.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <random>
#include <string>

#include "mrpool/callback.h"
#include "mrpool/device.h"
#include "tests/sim/place.h"
#include "tests/sim/simulation.h"

namespace mrpool::sim {

class Flood {
 public:
  Flood(Simulation& simulation, std::string from, uint16_t port,
        std::shared_ptr<const Recordings> recordings);
  ~Flood();

  void begin();
  // Closes the open connections and dials no more.
  void end();
  size_t open() const { return callers_.size(); }

 private:
  class Caller;

  void wave();
  uint64_t below(uint64_t limit) { return rng_() % limit; }
  // The bytes that the next connection sends.
  std::vector<std::byte> beginning();

  Simulation& simulation_;
  const std::string from_;
  const Address address_;
  const std::shared_ptr<const Recordings> recordings_;
  std::mt19937_64 rng_;
  std::list<std::unique_ptr<Caller>> callers_;  // the oldest first
  Bound<Timer, &Flood::wave> next_{*this};
};

}  // namespace mrpool::sim
