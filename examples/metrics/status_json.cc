#include "examples/metrics/status_json.h"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

namespace mrpool::metrics {
namespace {

namespace json = boost::json;

json::object sum_of(const IoSum& sum) {
  return {{"completed", sum.completed}, {"bytes", sum.bytes}, {"ns", sum.ns}};
}

json::object io_of(const IoTotals& io) {
  return {{"reads", sum_of(io.reads)},    {"writes", sum_of(io.writes)},
          {"others", sum_of(io.others)},  {"errors", io.errors},
          {"storage_errors", io.storage}, {"slow", io.slow}};
}

json::array workers_of(const Snapshot& from) {
  json::array all;
  for (const WorkerState& worker : from.workers) {
    all.push_back(json::object{{"connections", worker.connections},
                               {"chunks", worker.chunks},
                               {"chunks_in_use", worker.chunks_in_use},
                               {"chunks_high_water", worker.chunks_high_water},
                               {"waits", worker.waits},
                               {"wait_ns", worker.wait_ns}});
  }
  return all;
}

json::array devices_of(const Snapshot& from) {
  json::array all;
  for (const DeviceState& device : from.devices) {
    json::object object{{"name", device.name}};
    json::object counters;
    for (const auto& [name, value] : device.counters) {
      if (value != 0) counters[name] = value;
    }
    object["counters"] = std::move(counters);
    if (device.pool) {
      const MrPoolStats& pool = *device.pool;
      object["pool"] = json::object{{"size", pool.size},
                                    {"in_use", pool.in_use},
                                    {"high_water", pool.high_water},
                                    {"in_repair", pool.in_repair},
                                    {"gets", pool.gets},
                                    {"exhaustions", pool.exhaustions},
                                    {"waits", pool.waits},
                                    {"repairs", pool.repairs},
                                    {"wait_ns", pool.wait_ns}};
    }
    all.push_back(std::move(object));
  }
  return all;
}

json::array targets_of(const Snapshot& from) {
  json::array all;
  for (const TargetState& target : from.targets) {
    json::array units;
    for (const UnitState& unit : target.units) {
      units.push_back(json::object{{"number", unit.number},
                                   {"store", unit.store},
                                   {"uuid", unit.uuid},
                                   {"bytes", unit.blocks * unit.block_size},
                                   {"block_size", unit.block_size},
                                   {"io", io_of(unit.io)}});
    }
    all.push_back(json::object{
        {"name", target.name}, {"any_host", target.any_host}, {"units", std::move(units)}});
  }
  return all;
}

json::array hosts_of(const Snapshot& from) {
  json::array all;
  for (const HostState& host : from.hosts) {
    all.push_back(json::object{
        {"name", host.name}, {"connections", host.connections}, {"io", io_of(host.io)}});
  }
  return all;
}

json::array sessions_of(const Snapshot& from) {
  json::array all;
  for (const SessionState& session : from.sessions) {
    json::array queues;
    for (const QueueState& queue : session.queues) {
      queues.push_back(json::object{
          {"number", queue.number}, {"entries", queue.entries}, {"worker", queue.worker}});
    }
    all.push_back(json::object{{"host", session.host},
                               {"target", session.target},
                               {"number", session.number},
                               {"queues", std::move(queues)}});
  }
  return all;
}

// Counts by bucket over all sizes, as plotted by the page.
json::array latencies_of(const std::array<Latencies, kSizeClasses>& from) {
  json::array all;
  for (size_t i = 0; i < kLatencyBuckets; ++i) {
    uint64_t sum = 0;
    for (const Latencies& line : from) sum += line.counts[i];
    all.push_back(sum);
  }
  return all;
}

template <typename Texts>
json::array texts_of(const Texts& texts) {
  json::array all;
  for (const auto& text : texts) all.push_back(json::value(text));
  return all;
}

}  // namespace

std::string status_json(const Snapshot& from) {
  json::array bounds;
  for (size_t i = 0; i < kLatencyBounds; ++i) bounds.push_back(latency_bound_ns(i));
  return json::serialize(json::object{{"program", from.program},
                                      {"version", from.version},
                                      {"protocol", from.protocol},
                                      {"uptime_s", from.uptime_s},
                                      {"listening", texts_of(from.listening)},
                                      {"hung_stores", texts_of(from.hung_stores)},
                                      {"connections_rejected", from.connections_rejected},
                                      {"workers", workers_of(from)},
                                      {"devices", devices_of(from)},
                                      {"targets", targets_of(from)},
                                      {"hosts", hosts_of(from)},
                                      {"sessions", sessions_of(from)},
                                      {"latency_bounds_ns", std::move(bounds)},
                                      {"read_latencies", latencies_of(from.reads)},
                                      {"write_latencies", latencies_of(from.writes)}});
}

}  // namespace mrpool::metrics
