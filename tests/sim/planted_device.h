// A target's device with a bug in it: forwards everything to another device, and where the
// simulation has a plant does one thing wrong now and then.
//
//   kStaleKey          WRITEs to an initiator's key once more behind the SEND that ended it
//   kDoubleCompletion  sends an answer twice
//   kLostCredit        forgets to post a receive again
//
// Thread safety: as the device. Ownership: the simulation outlives it.
#pragma once

#include <memory>

#include "mrpool/device.h"
#include "tests/sim/simulation.h"

namespace mrpool::sim {

// `inner` itself when none of these is planted.
std::shared_ptr<Device> make_planted_device(std::shared_ptr<Device> inner, Simulation& simulation);

}  // namespace mrpool::sim
