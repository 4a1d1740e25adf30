// What hosts were promised: the acknowledged versions of blocks and of reservations, against which
// stores and answers are checked.
//
// Thread safety: one thread.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "tests/sim/simulation.h"

namespace mrpool::sim {

// A block's content.
struct BlockValue {
  uint64_t version = 0;
  uint32_t writer = 0;  // a host
  bool operator==(const BlockValue&) const = default;
};

// The reservations of a group: each host registers with higher and higher keys.
using Keys = std::vector<uint64_t>;

class Ledger {
 public:
  Ledger(const Simulation& simulation, size_t blocks, size_t groups, size_t hosts)
      : simulation_(simulation), versions_(blocks), winners_(blocks), keys_(groups, Keys(hosts)) {}

  uint64_t version(size_t block) const { return versions_[block]; }
  const Keys& keys(size_t group) const { return keys_[group]; }

  // A host was answered that its write succeeded. `stored` is what the store has now.
  void written(size_t block, const BlockValue& value, const BlockValue& stored) {
    const auto [winner, first] = winners_[block].try_emplace(value.version, value.writer);
    if (!first && winner->second != value.writer) {
      simulation_.violate("block " + std::to_string(block) + " version " +
                          std::to_string(value.version) + ": two writers both succeeded");
    }
    versions_[block] = std::max(versions_[block], value.version);
    check_stored(block, stored);
  }
  void check_stored(size_t block, const BlockValue& stored) const {
    if (stored.version >= versions_[block]) return;
    simulation_.violate("block " + std::to_string(block) + " holds version " +
                        std::to_string(stored.version) + ": the acknowledged version " +
                        std::to_string(versions_[block]) + " is lost");
  }
  // `least`: version() when the read began.
  void check_read(size_t block, uint64_t least, const BlockValue& value) const {
    if (value.version >= least) return;
    simulation_.violate("block " + std::to_string(block) + ": a read returned version " +
                        std::to_string(value.version) + " after version " + std::to_string(least) +
                        " was acknowledged");
  }
  void registered(size_t group, size_t host, uint64_t key) {
    uint64_t& known = keys_[group][host];
    known = std::max(known, key);
  }
  void check_keys(size_t group, const Keys& least, const Keys& found, const char* where) const {
    for (size_t host = 0; host < least.size(); ++host) {
      if (found[host] >= least[host]) continue;
      simulation_.violate(std::string("reservations of group ") + std::to_string(group) + " " +
                          where + ": key " + std::to_string(least[host]) + " of host " +
                          std::to_string(host) + " was acknowledged, and there is " +
                          std::to_string(found[host]));
    }
  }

 private:
  const Simulation& simulation_;
  std::vector<uint64_t> versions_;
  std::vector<std::map<uint64_t, uint32_t>> winners_;
  std::vector<Keys> keys_;
};

}  // namespace mrpool::sim
