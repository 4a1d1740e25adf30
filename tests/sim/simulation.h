// The base of every simulated world: a seed, a virtual clock, a network, an optional planted bug,
// and a way to fail.
//
// All randomness comes from the seed, so the same seed, world and plant give the same run, step by
// step. trace() is a digest for comparing two runs.
//
// Thread safety: one thread. A violated invariant ends the program by `violated`, because an
// exception cannot leave the destructors that call completions.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "mrpool/device.h"
#include "tests/sim/network.h"
#include "tests/sim/reactor.h"

namespace mrpool::sim {

// Plants are bugs that are put into the system on purpose, to show that the invariants detect them.
enum class Plant : uint8_t {
  kNone,
  kStaleKey,          // a peer's key is used once more when it has ended
  kDoubleCompletion,  // the target answers a command twice
  kLostCredit,        // the target forgets to post a receive again
  kLostLease,         // the target keeps an MR of its pool
  kEarlyAnswer,       // a write is acknowledged and then lost
  kLateWrite,         // a write lands after something newer was acknowledged
  kLostUpdate,        // an atomic's result is overwritten, as by one that is not atomic
  kBitFlip,           // a bit of stored blocks flips
  kOneAddress,        // the target takes all peers for one
  kOneWriter,         // the target waits for a peer that does not read
  kStaleRead,         // a read brings what was there before the last write
  kNoFence,           // a new owner does not fence the clients of the one before
  kEpochNotWaited,    // it does not wait until its own client knows the fence
  kLateLeaseCheck,    // a gateway begins commands without a look at its lease
  kStaleSave,         // reservations are saved without a guard on the term
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
  // The state of each host and the target, one line each.
  virtual std::string state() const = 0;

  uint64_t below(uint64_t limit) { return limit == 0 ? 0 : rng() % limit; }
  bool chance(uint32_t per_thousand) { return below(1000) < per_thousand; }
  // Sometimes true if `plant` is the one under test.
  bool planted(Plant which) { return plant == which && chance(20); }
  [[noreturn]] void violate(const std::string& what) const {
    violated(*this, what);
    std::abort();
  }
  // Adds an event to the digest of the run (FNV-1a, by words).
  void note(uint64_t what) { trace_ = (trace_ ^ what) * 0x100000001b3; }
  uint64_t trace() const { return trace_; }
  // One of all_moves() has happened, or has had its effect.
  void moved(std::string_view move) {
    ++moves_[move];
    note(move.size());
  }
  // A device on a separate machine.
  std::shared_ptr<Device> device_of(uint32_t number, bool crc);
  // The possible moves of this world, and their counts.
  virtual std::vector<std::string_view> all_moves() const { return {}; }
  const std::map<std::string_view, uint64_t>& moves() const { return moves_; }

  const uint64_t seed;
  const Plant plant;
  const Violated violated;
  std::mt19937_64 rng;
  uint64_t steps = 0;
  uint64_t commands = 0;  // acknowledged

  // The results of hosts next to bad peers (host_world.h), in runs that have some.
  Nanoseconds longest_stall{};
  double least_share = 1;

  // How long a group of gateways did not serve a group (gateways/world.h): after the owner was
  // lost, and when it gave the group back. Only where nothing else happened meanwhile, and all can
  // fence.
  std::vector<Nanoseconds> taken_over, given_back;

  SimReactor reactor;
  std::shared_ptr<SimNetwork> network;
  std::shared_ptr<Device> device;  // the initiators', where they share one
  bool faults = false;             // things may still break

 protected:
  // Called after each round of the reactor.
  virtual void after_step() = 0;

  void step();
  // Steps until `done`; a violation when commands no longer end.
  void run_until(const char* what, const std::function<bool()>& done);
  // A network with all faults that TCP allows, except transfer of single bytes.
  NetworkOptions bad_network();
  // Opens the network, with its planted bug if any.
  void open_network();

 private:
  uint64_t trace_ = 0xcbf29ce484222325;
  std::map<std::string_view, uint64_t> moves_;  // names are literals
};

}  // namespace mrpool::sim
