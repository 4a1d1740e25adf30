// A target's device with a bug: it forwards everything to another device and, if the simulation has
// a plant, sometimes does one thing wrong.
//
//   kStaleKey          WRITEs to an initiator's key again after the SEND that invalidated it
//   kDoubleCompletion  sends an answer twice
//   kLostCredit        forgets to post a receive again
//
// Thread safety: that of the device. Ownership: the simulation outlives it.
#pragma once

#include <memory>

#include "mrpool/device.h"
#include "tests/sim/simulation.h"

namespace mrpool::sim {

// Returns `inner` itself if none of these is planted.
std::shared_ptr<Device> make_planted_device(std::shared_ptr<Device> inner, Simulation& simulation);

}  // namespace mrpool::sim
