// One worker's access to the storage of a unit: its channel, and its lane in the unit's gate.
//
// Thread safety: the worker's thread. Ownership: shared by the worker's sessions that use the unit.
#pragma once

#include <cstdint>
#include <memory>

#include "examples/storage/range_gate.h"
#include "examples/storage/storage.h"
#include "mrpool/reactor.h"

namespace mrpool::iser_target {

struct Store {
  storage::Channel& channel;
  uint32_t block_size;
  storage::LateRanges& late;
  storage::RangeGate& gate;
  uint32_t lane;  // the worker's number
  Reactor& reactor;
};

}  // namespace mrpool::iser_target
