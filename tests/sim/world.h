// A whole system in one thread under one seed: initiators, a target, storage that delays and fails,
// and a network that splits, delays, stalls and breaks.
//
// The invariants, checked while it runs and at its end:
//   memory     no byte of an initiator's buffers changes but by a command that lent it;
//   once       every command is answered once, or ends with its connection, once;
//   durable    every acknowledged write is in the storage; blocks are never torn;
//   protocol   no side ever finds the other in the wrong;
//   resources  afterwards every lease, buffer and operation is back and the pools are whole;
//   progress   once the network is calm every initiator gets on.
// A broken one ends the program through `violated`: an exception could not leave the destructors
// that completions are called from. The same seed and options give the same run, step by step.
//
// Plants are bugs put into the system on purpose, to show that the invariants see them.
#pragma once

#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "mrpool/device.h"
#include "tests/sim/network.h"
#include "tests/sim/reactor.h"

namespace mrpool::sim {

enum class Plant : uint8_t {
  kNone,
  kStaleKey,          // an initiator forgets to end a key, the target uses it once more
  kDoubleCompletion,  // the target answers a command twice
  kLostCredit,        // the target forgets to post a receive again
  kLostLease,         // the target keeps an MR of its pool
  kEarlyAnswer,       // the target acknowledges a write that its storage then loses
  kLateWrite,         // the target lets an initiator back in while a write of before is under way
};

class Initiator;
class Target;

class World {
 public:
  // Does not return.
  using Violated = void (*)(const World& world, const std::string& what);
  World(uint64_t seed, Plant plant, Violated violated);
  ~World();

  // Runs it from the first connection to the last; returns how many steps it took.
  uint64_t run();

  uint64_t below(uint64_t limit) { return limit == 0 ? 0 : rng() % limit; }
  bool chance(uint32_t per_thousand) { return below(1000) < per_thousand; }
  // True now and then where `plant` is the one under test.
  bool planted(Plant which) { return plant == which && chance(20); }
  [[noreturn]] void violate(const std::string& what) const;

  const uint64_t seed;
  const Plant plant;
  const Violated violated;
  std::mt19937_64 rng;
  SimReactor reactor;
  std::shared_ptr<SimNetwork> network;
  std::shared_ptr<Device> device;
  std::unique_ptr<Target> target;
  std::vector<std::unique_ptr<Initiator>> initiators;
  Address address;
  bool faults = true;  // somebody may still be killed
  uint64_t steps = 0;
  uint64_t commands = 0;

 private:
  void step();
  void disturb();
  template <typename Done>
  void run_until(const char* what, Done done);
};

}  // namespace mrpool::sim
