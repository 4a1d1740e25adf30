// What every simulated world has: a seed, a planted bug or none, and a way to fail.
//
// Thread safety: one thread. A broken invariant ends the program through `violated`: an exception
// could not leave the destructors that completions are called from.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <random>
#include <string>

namespace mrpool::sim {

// Plants are bugs put into the system on purpose, to show that the invariants see them.
enum class Plant : uint8_t {
  kNone,
  kStaleKey,          // an initiator forgets to end a key, the target uses it once more
  kDoubleCompletion,  // the target answers a command twice
  kLostCredit,        // the target forgets to post a receive again
  kLostLease,         // the target keeps an MR of its pool
  kEarlyAnswer,       // a write is acknowledged and then lost
  kLateWrite,         // a write of a dead connection lands after the initiator is back
};

class Simulation {
 public:
  // Does not return.
  using Violated = void (*)(const Simulation& simulation, const std::string& what);
  Simulation(uint64_t seed_in, Plant plant_in, Violated violated_in)
      : seed(seed_in), plant(plant_in), violated(violated_in), rng(seed_in) {}
  virtual ~Simulation() = default;

  // Runs it from the first connection to the last.
  virtual void run() = 0;

  uint64_t below(uint64_t limit) { return limit == 0 ? 0 : rng() % limit; }
  bool chance(uint32_t per_thousand) { return below(1000) < per_thousand; }
  // True now and then where `plant` is the one under test.
  bool planted(Plant which) { return plant == which && chance(20); }
  [[noreturn]] void violate(const std::string& what) const {
    violated(*this, what);
    std::abort();
  }

  const uint64_t seed;
  const Plant plant;
  const Violated violated;
  std::mt19937_64 rng;
  uint64_t steps = 0;
  uint64_t commands = 0;  // acknowledged
};

}  // namespace mrpool::sim
