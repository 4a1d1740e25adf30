// A whole system in one thread under one seed: initiators, a target, storage that delays and fails,
// and a network that splits, delays, stalls and breaks.
//
// The invariants, checked while it runs and at its end:
//   memory     no byte of an initiator's buffers changes except by a command that lent it;
//   once       every command is answered once, or ends with its connection, once;
//   durable    every acknowledged write is in the storage; no block mixes two writes;
//   protocol   no side detects a protocol error of the other;
//   resources  at the end every lease, buffer and operation is returned;
//   progress   on a calm network every initiator makes progress.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tests/sim/simulation.h"

namespace mrpool::sim {

class Initiator;
class Target;

class World final : public Simulation {
 public:
  World(uint64_t seed, Plant plant, Violated violated);
  ~World() override;

  void run() override;
  std::string state() const override;

  std::unique_ptr<Target> target;
  std::vector<std::unique_ptr<Initiator>> initiators;
  Address address;

 private:
  void after_step() override;
  void disturb();
};

}  // namespace mrpool::sim
