// A model of a Ceph cluster, as gateways see it: OSDs with maps, clients that can be fenced, and
// one object with records.
//
// - A request travels to its OSD for microseconds to seconds. Those of one client to one OSD arrive
//   in the order in which they were sent. Nothing takes a request back that has left its gateway.
// - An OSD refuses requests of a client that its own map fences. It gets a new map some time after
//   the map was made, at the latest with a request whose client has it.
// - A gateway that is cut off exchanges nothing; what it sent arrives when the cut ends.
// - A slow OSD takes up to a second for a request.
//
// Thread safety: one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "examples/gateway/records.h"
#include "tests/sim/gateways/events.h"
#include "tests/sim/gateways/ledger.h"
#include "tests/sim/simulation.h"

namespace mrpool::sim {

// A machine's way to the cluster, both directions.
struct ClusterPath {
  bool cut = false;
  bool no_monitor = false;  // it reaches the OSDs only, and cannot fence
  std::vector<std::function<void()>> held{};
};

class ModelCluster {
 public:
  static constexpr uint32_t kOsds = 3;

  struct Answer {
    bool fenced = false;
    BlockValue value{};
  };

  ModelCluster(Simulation& simulation, Events& events, Ledger& ledger, size_t blocks);

  // Something crosses the path.
  void travel(ClusterPath& path, std::function<void()> arrive);
  void heal(ClusterPath& path);

  std::string new_client();
  // A read, or a write of `*value`. `done` comes back over the path.
  void io(ClusterPath& path, const std::string& client, size_t block, const BlockValue* value,
          std::function<void(Answer)> done);
  // A call that looks at the records and perhaps changes them.
  void call(ClusterPath& path, std::function<void(gateway::Records&)> work,
            std::function<void()> done);
  // `client`: whose map must have the fence.
  void fence(ClusterPath& path, std::string client, std::vector<std::string> clients,
             std::function<void()> done);

  void slow_down(uint32_t osd, Nanoseconds time);
  const BlockValue& stored(size_t block) const { return blocks_[block]; }
  const gateway::Records& records() const { return records_; }
  std::string state() const;

  uint64_t refused = 0;  // requests of fenced clients

 private:
  struct Client {
    uint64_t epoch = 0;
    uint64_t fenced_at = UINT64_MAX;
    Nanoseconds arrives[kOsds] = {};
  };
  struct Osd {
    uint64_t epoch = 0;
    Nanoseconds free{}, slow_until{};
  };
  Nanoseconds delay();
  // Not before what was sent earlier; `last` is when that arrives.
  void travel_in_order(ClusterPath& path, Nanoseconds& last, std::function<void()> arrive);
  void execute(Osd& osd, std::function<void()> work);
  void publish(uint64_t epoch);
  void check_saved() const;

  Simulation& simulation_;
  Events& events_;
  Ledger& ledger_;
  uint64_t epoch_ = 1;
  uint64_t clients_made_ = 0;
  std::map<std::string, Client> clients_;
  Osd osds_[kOsds];
  std::vector<BlockValue> blocks_;
  gateway::Records records_;
};

// The text of a group's reservations in the records.
std::string serialize_keys(const Keys& keys);
Keys parse_keys(std::string_view text, size_t hosts);

}  // namespace mrpool::sim
