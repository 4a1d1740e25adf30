#include "tests/sim/blocks.h"

#include <algorithm>
#include <cstring>
#include <string>

namespace mrpool::sim {

bool BlockModel::free(uint32_t first, uint32_t count) const {
  return std::none_of(busy_.begin() + first, busy_.begin() + first + count,
                      [](bool busy) { return busy; });
}

void BlockModel::begin(Transfer& transfer, std::span<std::byte> memory) {
  transfer.version = transfer.write ? next_version_++ : 0;
  for (uint32_t i = 0; i < transfer.count; ++i) {
    busy_[transfer.first + i] = true;
    if (!transfer.write) continue;
    stamp(memory.subspan(size_t{i} * kBlockBytes, kBlockBytes), first_ + transfer.first + i,
          transfer.version);
    versions_[transfer.first + i].insert(transfer.version);
  }
}

void BlockModel::end(const Transfer& transfer, std::span<const std::byte> memory, Fate fate) {
  simulation_.note(uint64_t{transfer.version} << 32 | transfer.first << 8 |
                   static_cast<uint32_t>(fate));
  for (uint32_t i = 0; i < transfer.count; ++i) {
    const uint32_t number = first_ + transfer.first + i;
    std::set<uint32_t>& versions = versions_[transfer.first + i];
    busy_[transfer.first + i] = false;
    uint32_t seen = 0;
    const bool whole =
        read_stamp(memory.subspan(size_t{i} * kBlockBytes, kBlockBytes), number, seen);
    if (transfer.write) {
      // Lent for reading only.
      if (!whole || seen != transfer.version) simulation_.violate("a write's buffer changed");
      if (fate == Fate::kDone) versions = {transfer.version};
      if (fate == Fate::kNotDone) versions.erase(transfer.version);
    } else if (fate == Fate::kDone) {
      if (!whole) simulation_.violate("a read brought a torn block");
      if (!versions.contains(seen)) {
        simulation_.violate("block " + std::to_string(number) + " reads version " +
                            std::to_string(seen) + ", which it cannot hold");
      }
      versions = {seen};
    }
  }
}

void BlockModel::begin_copy(BlockModel& from, const Transfer& transfer) {
  for (uint32_t i = transfer.first; i < transfer.first + transfer.count; ++i) {
    busy_[i] = from.busy_[i] = true;
    versions_[i].insert(from.versions_[i].begin(), from.versions_[i].end());
  }
}

void BlockModel::end_copy(BlockModel& from, const Transfer& transfer, Fate fate) {
  simulation_.note(uint64_t{transfer.first} << 8 | static_cast<uint32_t>(fate));
  for (uint32_t i = transfer.first; i < transfer.first + transfer.count; ++i) {
    busy_[i] = from.busy_[i] = false;
    if (fate == Fate::kDone) versions_[i] = from.versions_[i];
  }
}

void BlockModel::check(
    const std::function<std::span<const std::byte>(uint32_t block)>& block) const {
  for (uint32_t i = 0; i < size(); ++i) {
    const uint32_t number = first_ + i;
    uint32_t version = 0;
    if (!read_stamp(block(number), number, version)) {
      simulation_.violate("block " + std::to_string(number) + " is torn");
    }
    if (!versions_[i].contains(version)) {
      simulation_.violate("block " + std::to_string(number) + " holds version " +
                          std::to_string(version) + ": an acknowledged write is lost");
    }
  }
}

void check_untouched(const Simulation& simulation, std::span<const std::byte> memory, size_t lent) {
  // Compares every byte with the preceding one, at the speed of memcmp.
  const auto untouched = [](std::span<const std::byte> bytes) {
    return bytes.front() == kIdle &&
           std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0;
  };
  if (!untouched(memory.first(kGuard)) || !untouched(memory.subspan(kGuard + lent))) {
    simulation.violate("memory that no live key covers was written");
  }
}

std::string describe(const Transfer& transfer) {
  if (transfer.count == 0) return "flush";
  return std::string(transfer.write ? "write" : "read") + " of " + std::to_string(transfer.count) +
         " blocks at " + std::to_string(transfer.first);
}

std::string describe(const MrPool& pool) {
  const MrPoolStats stats = pool.stats();
  return std::to_string(stats.in_use) + " of " + std::to_string(stats.size) + " MRs out" +
         (stats.in_repair == 0 ? "" : " and " + std::to_string(stats.in_repair) + " in repair");
}

void check_whole(const Simulation& simulation, MrPool& pool) {
  pool.repair();
  const MrPoolStats stats = pool.stats();
  if (stats.in_use != 0 || stats.in_repair != 0) {
    simulation.violate("a pool has " + std::to_string(stats.in_use) + " MRs out and " +
                       std::to_string(stats.in_repair) + " in repair");
  }
  std::vector<MrPool::Lease> all;
  for (uint32_t i = 0; i < stats.size; ++i) {
    all.push_back(pool.get());
    if (!all.back()) simulation.violate("an MR of a pool is lost");
  }
}

}  // namespace mrpool::sim
