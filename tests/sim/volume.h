// A volume of the storage layer that takes its time and fails, under a seed: wraps a RAM volume.
//
// Requests wait a random while, so they finish in any order; now and then one fails, a write after
// it was carried out or before. With `gather` reads may also take the RAM volume's own way, from
// its memory in place. Plants: a write that is acknowledged and lost (kEarlyAnswer), or
// acknowledged before it is carried out (kLateWrite).
//
// A store that was cut carries out nothing that reaches beyond its end, whole or in part.
//
// Thread safety: one thread, the simulation's. Ownership: the simulation outlives it.
#pragma once

#include <memory>

#include "examples/storage/storage.h"
#include "tests/sim/simulation.h"

namespace mrpool::sim {

struct SimVolumeOptions {
  Nanoseconds max_delay{};
  uint32_t slow_per_thousand = 0;  // requests that take up to `slow`
  Nanoseconds slow{};
  uint32_t errors_per_thousand = 0;
  bool gather = false;
  // Requests that come before then, by the simulation's clock, wait until then. Looked at again and
  // again: a hang may be called off. The caller's; null: none.
  const Nanoseconds* hung_until = nullptr;
  // The current size of the store, at most that of the wrapped one. Changing it simulates another
  // program that truncates or extends a file. The caller's; null: it keeps its size.
  const uint64_t* size = nullptr;
};

// Most requests are quick; some outlive the connection they came by and the next one's set-up.
SimVolumeOptions bad_storage(Simulation& simulation);

std::shared_ptr<storage::Volume> make_sim_volume(std::shared_ptr<storage::Volume> inner,
                                                 Simulation& simulation,
                                                 const SimVolumeOptions& options);

}  // namespace mrpool::sim
