// One worker's access to the storage of a unit: its channel, and its lane in the unit's gate.
//
// Thread safety: the worker's thread. Ownership: shared by the worker's sessions that use the unit.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "examples/storage/bad_blocks.h"
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
  storage::Volume& volume;
  // Runs `change` where it may wait for the disk, then `done` with its result on the worker. For
  // marks that are kept.
  using ChangeMarks = std::function<void(std::function<storage::Error()> change,
                                         std::function<void(storage::Error)> done)>;
  ChangeMarks change_marks{};
};

}  // namespace mrpool::iser_target
