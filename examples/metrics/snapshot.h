// A snapshot of a daemon's state, from which the exporter and the status page are generated.
//
// The daemon fills one on demand (observe() of its services). Values are read one by one while the
// counters continue: each value is exact, but they are not from the same instant.
//
// Thread safety: values. Units: bytes and nanoseconds, as named.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "examples/metrics/buckets.h"
#include "mrpool/mr_pool.h"

namespace mrpool::metrics {

struct IoSum {
  uint64_t completed = 0;
  uint64_t bytes = 0;
  uint64_t ns = 0;
};

// The I/O of one host, of one namespace or of all.
struct IoTotals {
  IoSum reads{};
  IoSum writes{};
  IoSum others{};        // flush, deallocate, write zeroes, verify and the like
  uint64_t errors = 0;   // commands that failed
  uint64_t storage = 0;  // of these, because the store failed
  uint64_t slow = 0;     // reads and writes above kSlowBound
  // Commands that a limit has held back, and for how long.
  uint64_t throttled = 0;
  uint64_t throttled_ns = 0;

  void add(const IoTotals& other);
};

// Completed commands by latency, for an operation and a size class.
struct Latencies {
  std::array<uint64_t, kLatencyBuckets> counts{};  // not cumulative
  uint64_t ns = 0;                                 // the sum of all latencies
};

struct WorkerState {
  uint64_t connections = 0;
  uint64_t accepted = 0;
  uint64_t refused = 0;
  uint64_t evicted = 0;
  uint64_t chunks = 0;
  uint64_t chunks_in_use = 0;
  uint64_t chunks_high_water = 0;
  uint64_t waits = 0;
  uint64_t wait_ns = 0;
};

struct DeviceState {
  std::string name{};
  // The counters of mrpool/statistics.h that the transport has.
  std::vector<std::pair<std::string, uint64_t>> counters{};
  std::optional<MrPoolStats> pool{};
};

// A namespace or a logical unit.
struct UnitState {
  uint32_t number = 0;
  std::string store{};
  std::string uuid{};
  uint64_t blocks = 0;
  uint32_t block_size = 0;
  IoTotals io{};
};

// How well a group of namespaces or logical units is reached through a port: ANA, ALUA.
struct AccessState {
  std::string listener{};
  uint32_t group = 0;
  uint32_t state = 0;  // as the protocol writes it
};

// A subsystem or an iSCSI target.
struct TargetState {
  std::string name{};
  bool any_host = true;
  std::vector<UnitState> units{};
  std::vector<AccessState> access{};
  // The protocol's counters of it, by name (docs/reference/statistics.md).
  std::vector<std::pair<std::string, uint64_t>> counters{};
};

// A host or an initiator that is connected or has done I/O.
struct HostState {
  std::string name{};
  uint64_t connections = 0;
  IoTotals io{};
};

// An association with its queues: an NVMe controller. iSCSI has sessions of one connection.
struct QueueState {
  uint32_t number = 0;
  uint32_t entries = 0;
  uint32_t worker = 0;
};
struct SessionState {
  std::string host{};
  std::string target{};
  uint32_t number = 0;
  std::vector<QueueState> queues{};
  // Of the connection of an iSCSI session.
  uint32_t connection = 0;  // its CID
  std::string peer{};       // "10.0.0.7:4711"
  std::string local{};
};

// A gateway of a group, and the ANA groups as it knows them.
struct GatewayState {
  struct Group {
    std::string name{};
    std::string owner{};  // empty: nobody
    bool serves = false;  // this gateway
    uint64_t term = 0;
    uint64_t lease_left_ns = 0;  // while it serves
    uint64_t takeovers = 0;
    uint64_t losses = 0;
    uint64_t fences = 0;
    uint64_t last_takeover_ns = 0;
  };
  std::string name{};
  uint32_t members = 0;    // that run, with this one
  bool reachable = false;  // the cluster answers
  std::vector<Group> groups{};
};

struct Snapshot {
  std::string program{};
  std::string version{};
  std::string protocol{};  // "nvme" or "iscsi"
  uint64_t started_unix_s = 0;
  uint64_t uptime_s = 0;
  std::vector<std::string> listening{};
  uint64_t connections_rejected = 0;
  std::vector<std::string> hung_stores{};
  std::vector<WorkerState> workers{};
  std::vector<DeviceState> devices{};
  std::vector<TargetState> targets{};
  std::vector<HostState> hosts{};
  std::vector<SessionState> sessions{};
  std::optional<GatewayState> gateway{};
  // The protocol's counters of the whole daemon, by name.
  std::vector<std::pair<std::string, uint64_t>> counters{};
  std::array<Latencies, kSizeClasses> reads{};
  std::array<Latencies, kSizeClasses> writes{};
};

}  // namespace mrpool::metrics
