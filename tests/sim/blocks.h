// The model of an initiator's blocks in every world: the versions that each block may hold, and
// memory for commands that shows stray bytes.
//
// Thread safety: one thread. Ownership: the simulation outlives them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <set>
#include <span>
#include <vector>

#include "mrpool/mr_pool.h"
#include "tests/sim/simulation.h"
#include "tests/sim/storage.h"

namespace mrpool::sim {

// A command on blocks, numbered from the model's first.
struct Transfer {
  uint32_t first = 0;
  uint32_t count = 0;
  bool write = false;
  uint32_t version = 0;  // of a write
};

enum class Fate : uint8_t {
  kDone,
  kUnknown,  // it failed or was lost: it may have been carried out, whole or in part
  kNotDone,  // it was refused before it began
};

class BlockModel {
 public:
  // Blocks `first` to `first + count - 1` of the storage, which hold version 0.
  BlockModel(Simulation& simulation, uint32_t first, uint32_t count)
      : simulation_(simulation), first_(first), versions_(count, {0}), busy_(count) {}

  // True if no command uses these blocks.
  bool free(uint32_t first, uint32_t count) const;
  // A command starts; for a write, fills `memory` with its data.
  void begin(Transfer& transfer, std::span<std::byte> memory);
  // A command ended with this content of its memory.
  void end(const Transfer& transfer, std::span<const std::byte> memory, Fate fate);
  // A copy of these blocks of `from` to the same numbers here, where the versions of both have
  // different numbers.
  void begin_copy(BlockModel& from, const Transfer& transfer);
  void end_copy(BlockModel& from, const Transfer& transfer, Fate fate);
  // The next write has this version.
  void number_from(uint32_t version) { next_version_ = version; }
  // Compares the storage with the model. `block` returns a block of the storage.
  void check(const std::function<std::span<const std::byte>(uint32_t block)>& block) const;

  uint32_t first() const { return first_; }
  uint32_t size() const { return static_cast<uint32_t>(versions_.size()); }

 private:
  Simulation& simulation_;
  const uint32_t first_;
  uint32_t next_version_ = 1;
  // One version, or several after a write with an unknown result.
  std::vector<std::set<uint32_t>> versions_;
  std::vector<bool> busy_;
};

// A command's memory is between guards; bytes that are not lent hold kIdle.
inline constexpr std::byte kIdle{0xc5};
inline constexpr size_t kGuard = 64;
constexpr size_t guarded(size_t bytes) { return bytes + 2 * kGuard; }
// A violation if any byte except the first `lent` bytes after the first guard was changed.
void check_untouched(const Simulation& simulation, std::span<const std::byte> memory, size_t lent);
// For Simulation::state(): "write of 5 blocks at 3", "2 of 4 MRs out".
std::string describe(const Transfer& transfer);
std::string describe(const MrPool& pool);
// A violation if an MR of the pool is leased or lost.
void check_whole(const Simulation& simulation, MrPool& pool);

}  // namespace mrpool::sim
