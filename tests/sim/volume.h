// A slow and failing volume of the storage layer, under a seed: wraps a RAM volume.
//
// Requests wait for a random time, so they finish in any order. Sometimes one fails, a write before
// or after its execution. With `gather`, reads may also use the RAM volume's memory in place.
// Plants: a write that is acknowledged and lost (kEarlyAnswer), or
// acknowledged before it is carried out (kLateWrite), a read that brings what was there before the
// last write (kStaleRead).
//
// A truncated store executes no request beyond its end, not even partly.
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
  bool stale_reads = false;  // Plant::kStaleRead may strike it
  // Requests that arrive before this time of the simulation's clock wait until then. Read
  // repeatedly, because a hang may end early. Owned by the caller; null: none.
  const Nanoseconds* hung_until = nullptr;
  // The current size of the store, at most that of the wrapped one. Changing it simulates another
  // program that truncates or extends a file. Owned by the caller; null: the size does not change.
  const uint64_t* size = nullptr;
};

// Most requests are fast; some outlive their connection and the set-up of the next one.
SimVolumeOptions bad_storage(Simulation& simulation);

std::shared_ptr<storage::Volume> make_sim_volume(std::shared_ptr<storage::Volume> inner,
                                                 Simulation& simulation,
                                                 const SimVolumeOptions& options);

}  // namespace mrpool::sim
