#include "examples/metrics/families.h"

#include <prometheus/text_serializer.h>

#include <limits>
#include <string_view>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace mrpool::metrics {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<ClientMetric::Label>;

constexpr double kNanosecond = 1e-9;

// One family; families without a sample are omitted.
class Family {
 public:
  Family(std::vector<MetricFamily>& to, std::string name, std::string help, MetricType type)
      : to_(to) {
    family_.name = absl::StrCat("mrpool_", name);
    family_.help = std::move(help);
    family_.type = type;
  }
  ~Family() {
    if (!family_.metric.empty()) to_.push_back(std::move(family_));
  }
  Family(const Family&) = delete;
  Family& operator=(const Family&) = delete;

  void add(Labels labels, double value) {
    ClientMetric metric;
    metric.label = std::move(labels);
    (family_.type == MetricType::Counter ? metric.counter.value : metric.gauge.value) = value;
    family_.metric.push_back(std::move(metric));
  }
  void add(Labels labels, const Latencies& from) {
    ClientMetric metric;
    metric.label = std::move(labels);
    uint64_t sum = 0;
    for (size_t i = 0; i < kLatencyBuckets; ++i) {
      sum += from.counts[i];
      metric.histogram.bucket.push_back({sum, i < kLatencyBounds
                                                  ? double(latency_bound_ns(i)) * kNanosecond
                                                  : std::numeric_limits<double>::infinity()});
    }
    metric.histogram.sample_count = sum;
    metric.histogram.sample_sum = double(from.ns) * kNanosecond;
    family_.metric.push_back(std::move(metric));
  }

 private:
  std::vector<MetricFamily>& to_;
  MetricFamily family_;
};

// Writes one sample for each entry of a list: `value` returns a number and `labels` its labels.
class Writer {
 public:
  explicit Writer(std::vector<MetricFamily>& to) : to_(to) {}

  template <typename List, typename Label, typename Value>
  void counter(const char* name, const char* help, const List& list, const Label& labels,
               const Value& value) {
    each(name, help, MetricType::Counter, list, labels, value);
  }
  template <typename List, typename Label, typename Value>
  void gauge(const char* name, const char* help, const List& list, const Label& labels,
             const Value& value) {
    each(name, help, MetricType::Gauge, list, labels, value);
  }
  void one(const char* name, const char* help, MetricType type, double value, Labels labels = {}) {
    Family(to_, name, help, type).add(std::move(labels), value);
  }
  std::vector<MetricFamily>& families() { return to_; }

 private:
  template <typename List, typename Label, typename Value>
  void each(const char* name, const char* help, MetricType type, const List& list,
            const Label& labels, const Value& value) {
    Family family(to_, name, help, type);
    for (const auto& entry : list) family.add(labels(entry), double(value(entry)));
  }

  std::vector<MetricFamily>& to_;
};

// The daemon.

void write_process(const Snapshot& from, Writer& to) {
  to.one("build_info", "The running daemon; the value is 1.", MetricType::Gauge, 1,
         {{"program", from.program}, {"protocol", from.protocol}, {"version", from.version}});
  to.one("start_time_seconds", "When the daemon started, in seconds since the epoch.",
         MetricType::Gauge, double(from.started_unix_s));
  to.one("connections_rejected_total",
         "Connection requests that were rejected before a worker had them.", MetricType::Counter,
         double(from.connections_rejected));
  to.one("stores_hung", "Stores that do not answer now.", MetricType::Gauge,
         double(from.hung_stores.size()));
  uint64_t slow = 0;
  for (const auto* lines : {&from.reads, &from.writes}) {
    for (const Latencies& line : *lines) {
      for (size_t i = kSlowBound + 1; i < kLatencyBuckets; ++i) slow += line.counts[i];
    }
  }
  to.one("slow_commands_total", "Reads and writes that took longer than 1.05 seconds.",
         MetricType::Counter, double(slow));
}

// Workers and their staging memory.

struct NumberedWorker {
  size_t number;
  const WorkerState* state;
};

void write_workers(const Snapshot& from, Writer& to) {
  std::vector<NumberedWorker> all;
  for (const WorkerState& state : from.workers) all.push_back({all.size(), &state});
  const auto labels = [](const NumberedWorker& worker) -> Labels {
    return {{"worker", absl::StrCat(worker.number)}};
  };
  const auto field = [](auto member) {
    return [member](const NumberedWorker& worker) { return worker.state->*member; };
  };
  to.gauge("worker_connections", "Connections of the worker now.", all, labels,
           field(&WorkerState::connections));
  to.counter("worker_connections_accepted_total", "Connections that the worker accepted.", all,
             labels, field(&WorkerState::accepted));
  to.counter("worker_connections_refused_total", "Connections that the worker refused.", all,
             labels, field(&WorkerState::refused));
  to.counter("worker_connections_evicted_total",
             "Connections that the worker dropped in favor of others.", all, labels,
             field(&WorkerState::evicted));
  to.gauge("staging_chunks", "Chunks of staging memory, 128 KiB each.", all, labels,
           field(&WorkerState::chunks));
  to.gauge("staging_chunks_in_use", "Chunks of staging memory in use now.", all, labels,
           field(&WorkerState::chunks_in_use));
  to.gauge("staging_chunks_high_water", "The most chunks of staging memory in use at a time.", all,
           labels, field(&WorkerState::chunks_high_water));
  to.counter("staging_waits_total", "Commands that waited for staging memory.", all, labels,
             field(&WorkerState::waits));
  to.counter(
      "staging_wait_seconds_total", "Time that commands waited for staging memory.", all, labels,
      [](const NumberedWorker& worker) { return double(worker.state->wait_ns) * kNanosecond; });
}

// Devices and their pools.

void write_pools(const Snapshot& from, Writer& to) {
  std::vector<const DeviceState*> all;
  for (const DeviceState& device : from.devices) {
    if (device.pool) all.push_back(&device);
  }
  const auto labels = [](const DeviceState* device) -> Labels {
    return {{"device", device->name}};
  };
  const auto field = [](auto member) {
    return [member](const DeviceState* device) { return (*device->pool).*member; };
  };
  to.gauge("pool_mrs", "Entries of the MR pool.", all, labels, field(&MrPoolStats::size));
  to.gauge("pool_mrs_in_use", "MRs leased now.", all, labels, field(&MrPoolStats::in_use));
  to.gauge("pool_mrs_high_water", "Entries of the MR pool that were ever leased.", all, labels,
           field(&MrPoolStats::high_water));
  to.gauge("pool_mrs_in_repair", "MRs whose key may be live and must be renewed.", all, labels,
           field(&MrPoolStats::in_repair));
  to.counter("pool_gets_total", "Leases of MRs.", all, labels, field(&MrPoolStats::gets));
  to.counter("pool_exhaustions_total", "Gets that found no free MR.", all, labels,
             field(&MrPoolStats::exhaustions));
  to.counter("pool_waits_total", "Gets that waited for an MR.", all, labels,
             field(&MrPoolStats::waits));
  to.counter("pool_wait_seconds_total", "Time that gets waited for an MR, of waits that ended.",
             all, labels,
             [](const DeviceState* device) { return double(device->pool->wait_ns) * kNanosecond; });
  to.counter("pool_repairs_total", "Renewed keys of MRs.", all, labels,
             field(&MrPoolStats::repairs));
}

void write_terminates(const Snapshot& from, std::string_view direction, const char* help,
                      Writer& to) {
  const std::string prefix = absl::StrCat("terminates_", std::string(direction), "_");
  Family family(to.families(), absl::StrCat("device_terminates_", std::string(direction), "_total"),
                help, MetricType::Counter);
  for (const DeviceState& device : from.devices) {
    for (const auto& [name, value] : device.counters) {
      absl::string_view code = name;
      if (!absl::ConsumePrefix(&code, prefix)) continue;
      family.add({{"device", device.name}, {"code", std::string(code)}}, double(value));
    }
  }
}

// The values of one counter on every device.
void write_counter(const Snapshot& from, const std::string& name, Writer& to) {
  const bool maximum = absl::EndsWith(name, "_max");
  Family family(to.families(), absl::StrCat("device_", name, maximum ? "" : "_total"),
                absl::StrCat("The device's counter ", name, "."),
                maximum ? MetricType::Gauge : MetricType::Counter);
  for (const DeviceState& device : from.devices) {
    for (const auto& [each, value] : device.counters) {
      if (each == name) family.add({{"device", device.name}}, double(value));
    }
  }
}

void write_devices(const Snapshot& from, Writer& to) {
  std::vector<std::string> names;
  for (const DeviceState& device : from.devices) {
    for (const auto& [name, value] : device.counters) {
      const bool known = std::find(names.begin(), names.end(), name) != names.end();
      if (!known && !absl::StartsWith(name, "terminates_")) names.push_back(name);
    }
  }
  for (const std::string& name : names) write_counter(from, name, to);
  write_terminates(from, "sent", "Terminates that the device sent, by their code.", to);
  write_terminates(from, "received", "Terminates that peers sent, by their code.", to);
  write_pools(from, to);
}

// I/O by unit, by host, by size.

// The same for a unit and a host; `prefix` is "unit" or "host".
template <typename List, typename Label>
void write_io(const char* prefix, const char* whose, const List& list, const Label& labels,
              Writer& to) {
  const auto counter = [&](const char* name, const char* help, const auto& value) {
    to.counter(absl::StrCat(prefix, "_", name).c_str(), absl::StrCat(help, whose, ".").c_str(),
               list, labels, [&value](const auto& entry) { return value(entry.io); });
  };
  counter("reads_completed_total", "Reads completed, Compare included, ",
          [](const IoTotals& io) { return io.reads.completed; });
  counter("read_bytes_total", "Bytes read ", [](const IoTotals& io) { return io.reads.bytes; });
  counter("read_seconds_total", "Time of the reads, from command to response, ",
          [](const IoTotals& io) { return double(io.reads.ns) * kNanosecond; });
  counter("writes_completed_total", "Writes completed ",
          [](const IoTotals& io) { return io.writes.completed; });
  counter("written_bytes_total", "Bytes written ",
          [](const IoTotals& io) { return io.writes.bytes; });
  counter("write_seconds_total", "Time of the writes, from command to response, ",
          [](const IoTotals& io) { return double(io.writes.ns) * kNanosecond; });
  counter("other_commands_completed_total",
          "Commands completed that neither read nor wrote data, such as Flush, ",
          [](const IoTotals& io) { return io.others.completed; });
  counter("command_errors_total", "I/O commands that failed ",
          [](const IoTotals& io) { return io.errors; });
  counter("storage_errors_total", "I/O commands that failed because the store did ",
          [](const IoTotals& io) { return io.storage; });
  counter("slow_commands_total", "Reads and writes that took longer than 1.05 seconds ",
          [](const IoTotals& io) { return io.slow; });
  counter("throttled_commands_total", "Commands that a limit held back, ",
          [](const IoTotals& io) { return io.throttled; });
  counter("throttled_seconds_total", "Time for which limits held commands back, ",
          [](const IoTotals& io) { return double(io.throttled_ns) * kNanosecond; });
}

struct PlacedUnit {
  const TargetState* target;
  const UnitState* unit;
  const IoTotals& io;
};

Labels unit_labels(const PlacedUnit& placed) {
  return {{"target", placed.target->name}, {"unit", absl::StrCat(placed.unit->number)}};
}

void write_units(const Snapshot& from, Writer& to) {
  std::vector<PlacedUnit> all;
  for (const TargetState& target : from.targets) {
    for (const UnitState& unit : target.units) all.push_back({&target, &unit, unit.io});
  }
  to.gauge(
      "unit_info", "A namespace or logical unit and its store; the value is 1.", all,
      [](const PlacedUnit& placed) {
        Labels labels = unit_labels(placed);
        labels.push_back({"store", placed.unit->store});
        labels.push_back({"uuid", placed.unit->uuid});
        return labels;
      },
      [](const PlacedUnit&) { return 1; });
  to.gauge("unit_capacity_bytes", "The size of a namespace or logical unit.", all, unit_labels,
           [](const PlacedUnit& placed) { return placed.unit->blocks * placed.unit->block_size; });
  write_io("unit", "of the namespace or logical unit", all, unit_labels, to);
  to.gauge(
      "target_units", "Namespaces or logical units of a subsystem or target.", from.targets,
      [](const TargetState& target) -> Labels {
        return {{"target", target.name}};
      },
      [](const TargetState& target) { return target.units.size(); });
}

void write_access(const Snapshot& from, Writer& to) {
  struct Placed {
    const TargetState* target;
    const AccessState* access;
  };
  std::vector<Placed> all;
  for (const TargetState& target : from.targets) {
    for (const AccessState& each : target.access) all.push_back({&target, &each});
  }
  to.gauge(
      "access_state",
      "ANA or ALUA state of a group at a listener, as the protocol numbers it: NVMe 1 optimized, "
      "2 non-optimized, 3 inaccessible, 4 persistent loss, 15 change; iSCSI 0 optimized, "
      "1 non-optimized, 2 standby, 3 unavailable, 15 transitioning.",
      all,
      [](const Placed& placed) -> Labels {
        return {{"target", placed.target->name},
                {"listener", placed.access->listener},
                {"group", absl::StrCat(placed.access->group)}};
      },
      [](const Placed& placed) { return placed.access->state; });
}

void write_gateway(const Snapshot& from, Writer& to) {
  if (!from.gateway) return;
  const std::vector<GatewayState> self{*from.gateway};
  const auto name = [](const GatewayState& gateway) -> Labels {
    return {{"gateway", gateway.name}};
  };
  to.gauge("gateway_members", "Gateways of the group that run, with this one.", self, name,
           [](const GatewayState& gateway) { return gateway.members; });
  to.gauge("gateway_cluster_answers", "1 if the cluster answers this gateway, else 0.", self, name,
           [](const GatewayState& gateway) { return gateway.reachable ? 1 : 0; });
  using Group = GatewayState::Group;
  const auto labels = [](const Group& group) -> Labels { return {{"group", group.name}}; };
  const std::vector<Group>& groups = from.gateway->groups;
  to.gauge(
      "gateway_group_owner", "1 for the gateway that owns the group, as far as this one knows.",
      groups,
      [](const Group& group) -> Labels {
        return {{"group", group.name}, {"owner", group.owner}};
      },
      [](const Group& group) { return group.owner.empty() ? 0 : 1; });
  to.gauge("gateway_group_serves", "1 if this gateway serves the group, else 0.", groups, labels,
           [](const Group& group) { return group.serves ? 1 : 0; });
  to.gauge("gateway_group_term", "The term of the owner: +1 with each new one.", groups, labels,
           [](const Group& group) { return group.term; });
  to.gauge("gateway_lease_seconds", "Time until the lease of this gateway ends; 0: it has none.",
           groups, labels,
           [](const Group& group) { return double(group.lease_left_ns) * kNanosecond; });
  to.counter("gateway_takeovers_total", "How often this gateway has begun to serve the group.",
             groups, labels, [](const Group& group) { return group.takeovers; });
  to.counter("gateway_losses_total",
             "How often this gateway lost the group without giving it back.", groups, labels,
             [](const Group& group) { return group.losses; });
  to.counter("gateway_fences_total", "Clients of other gateways that this one has fenced.", groups,
             labels, [](const Group& group) { return group.fences; });
  to.gauge("gateway_takeover_seconds", "Time of the last takeover, from the decision.", groups,
           labels, [](const Group& group) { return double(group.last_takeover_ns) * kNanosecond; });
}

void write_hosts(const Snapshot& from, Writer& to) {
  const auto labels = [](const HostState& host) -> Labels { return {{"host", host.name}}; };
  to.gauge("host_connections", "Connections of the host or initiator now.", from.hosts, labels,
           [](const HostState& host) { return host.connections; });
  write_io("host", "of the host or initiator", from.hosts, labels, to);
}

void write_latencies(const Snapshot& from, Writer& to) {
  Family family(to.families(), "command_seconds",
                "Time of reads and writes from command to response, by operation and size class.",
                MetricType::Histogram);
  for (size_t size = 0; size < kSizeClasses; ++size) {
    family.add({{"operation", "read"}, {"size", kSizeNames[size]}}, from.reads[size]);
    family.add({{"operation", "write"}, {"size", kSizeNames[size]}}, from.writes[size]);
  }
}

// The protocols' own counters.

// "busy_ns" of a counter becomes seconds.
void write_protocol(const Snapshot& from, Writer& to) {
  std::vector<std::pair<std::string, std::string>> done;
  const auto write = [&](const std::string& counter, const char* scope, const auto& samples) {
    absl::string_view stem = counter;
    const bool time = absl::ConsumeSuffix(&stem, "_ns");
    Family family(to.families(), absl::StrCat(scope, "_", stem, time ? "_seconds_total" : "_total"),
                  absl::StrCat("The counter ", counter, " of ", scope, "."), MetricType::Counter);
    samples(family, time ? kNanosecond : 1.0);
  };
  if (!from.targets.empty()) {
    for (size_t i = 0; i < from.targets.front().counters.size(); ++i) {
      write(from.targets.front().counters[i].first, "subsystem", [&](Family& family, double unit) {
        for (const TargetState& target : from.targets) {
          family.add({{"target", target.name}}, double(target.counters[i].second) * unit);
        }
      });
    }
  }
  for (const auto& [name, value] : from.counters) {
    write(name, from.protocol.c_str(), [&, count = value](Family& family, double unit) {
      family.add({}, double(count) * unit);
    });
  }
}

}  // namespace

std::vector<MetricFamily> make_families(const Snapshot& snapshot) {
  std::vector<MetricFamily> all;
  Writer to(all);
  write_process(snapshot, to);
  write_workers(snapshot, to);
  write_devices(snapshot, to);
  write_units(snapshot, to);
  write_gateway(snapshot, to);
  write_access(snapshot, to);
  write_hosts(snapshot, to);
  write_latencies(snapshot, to);
  write_protocol(snapshot, to);
  return all;
}

std::string to_text(const std::vector<MetricFamily>& families) {
  return prometheus::TextSerializer().Serialize(families);
}

}  // namespace mrpool::metrics
