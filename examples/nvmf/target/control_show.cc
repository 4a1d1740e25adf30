#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <map>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "examples/base/ip_address.h"
#include "examples/nvmf/target/control.h"
#include "examples/nvmf/target/limits.h"
#include "examples/protocol/nvme/wire.h"

namespace mrpool::nvmf_target {

namespace json = boost::json;
using control::Given;
using control::number;
using control::only;
using control::Parameter;
using control::Result;
using control::text;

namespace {

constexpr uint64_t kTickRate = 1'000'000'000;

json::object address(const std::string& host, uint16_t port) {
  const bool ipv6 = host.find(':') != host.npos;
  json::object one;
  one["trtype"] = "RDMA";
  one["adrfam"] = ipv6 ? "IPv6" : "IPv4";
  one["traddr"] = host;
  one["trsvcid"] = absl::StrCat(port);
  return one;
}

// "10.0.0.1:4420", "[::1]:4420".
json::object address(const std::string& endpoint) {
  const std::string host(base::host_of(endpoint));
  const size_t colon = endpoint.rfind(':');
  json::object one = address(host, 0);
  one["trsvcid"] = colon == endpoint.npos ? "" : endpoint.substr(colon + 1);
  return one;
}

std::string without_dashes(std::string uuid) {
  std::erase(uuid, '-');
  for (char& c : uuid) c = char(std::toupper(c));
  return uuid;
}

json::array host_list(const HostSet& hosts) {
  json::array all;
  for (const std::string& host : hosts) all.push_back(json::object{{"nqn", host}});
  return all;
}

// The name of a namespace's store.
std::string store_of(const SubsystemConfig& subsystem, uint32_t nsid) {
  for (const NamespaceConfig& each : subsystem.namespaces) {
    if (each.nsid == nsid && !each.store.empty()) return each.store;
  }
  return own_store_name(subsystem.nqn, nsid);
}

}  // namespace

// "NQN/1": the name of a store that belongs to one namespace.
std::string own_store_name(std::string_view nqn, uint32_t nsid) {
  return absl::StrCat(std::string(nqn), "/", nsid);
}

std::vector<engine::HeldStore> Control::held_stores() {
  std::map<std::pair<std::string, uint32_t>, metrics::IoTotals> io;
  for (const engine::IoAccounts::Row& row : service_.engine().accounts().rows()) {
    io[{row.target, row.unit}].add(row.io);
  }
  std::vector<engine::HeldStore> all;
  for (const SubsystemConfig& subsystem : config().subsystems) {
    const auto served = service_.target().find(subsystem.nqn);
    if (served == nullptr) continue;
    const auto table = served->namespaces();
    for (const Namespace& ns : table->namespaces) {
      all.push_back({.name = store_of(subsystem, ns.nsid),
                     .volume = ns.volume,
                     .uuid = ns.uuid,
                     .used = true,
                     .io = io[{subsystem.nqn, ns.nsid}],
                     .limits = ns.limits});
    }
  }
  for (const Service::Named& each : service_.named_stores()) {
    const bool used = std::ranges::any_of(
        all, [&](const engine::HeldStore& held) { return held.name == each.name; });
    if (!used) all.push_back(engine::unused_store(config().stores, each));
  }
  return all;
}

json::array Control::listen_addresses() const {
  json::array all;
  for (const engine::Service::Listening& port : service_.engine().listening()) {
    all.push_back(address(port.portal.address, port.portal.port));
  }
  return all;
}

json::object Control::show(const SubsystemConfig& subsystem) const {
  json::object one;
  one["nqn"] = subsystem.nqn;
  one["subtype"] = "NVMe";
  one["listen_addresses"] = listen_addresses();
  one["allow_any_host"] = admits_any(subsystem);
  json::array hosts;
  for (const std::string& host : subsystem.hosts.value_or(HostSet())) {
    json::object shown{{"nqn", host}};
    add_key_names(subsystem, host, shown);
    hosts.push_back(std::move(shown));
  }
  one["hosts"] = std::move(hosts);
  if (!subsystem.host_limits.empty()) {
    one["host_limits"] = engine::write_host_limits(subsystem.host_limits, "nqn");
  }
  one["serial_number"] = subsystem.serial;
  one["model_number"] = subsystem.model.empty() ? SubsystemOptions().model : subsystem.model;
  one["max_namespaces"] = subsystem.max_namespaces;
  one["ana_reporting"] = subsystem.ana_reporting;
  one["min_cntlid"] = subsystem.min_cntlid;
  one["max_cntlid"] = subsystem.max_cntlid;
  one["passthrough"] = false;
  one["dmrsl"] = 0;
  one["wzsl"] = 0;
  json::array namespaces;
  if (const auto served = service_.target().find(subsystem.nqn)) {
    const auto table = served->namespaces();
    for (const Namespace& ns : table->namespaces) {
      const std::string uuid = storage::format_uuid(ns.uuid);
      const std::string store = store_of(subsystem, ns.nsid);
      json::object shown{{"nsid", ns.nsid}, {"bdev_name", store},
                         {"name", store},   {"nguid", without_dashes(uuid)},
                         {"uuid", uuid},    {"anagrpid", ns.ana_group}};
      if (ns.hosts != nullptr) {
        shown["no_auto_visible"] = true;
        shown["hosts"] = host_list(*ns.hosts);
      }
      namespaces.push_back(std::move(shown));
    }
  }
  one["namespaces"] = std::move(namespaces);
  return one;
}

Result Control::get_subsystems(const Given& given) const {
  const std::string wanted = given.text("nqn");
  json::array all;
  if (wanted.empty() || wanted == nvme::kDiscoveryNqn) {
    json::object discovery = show_discovery(config());
    discovery["listen_addresses"] = listen_addresses();
    all.push_back(std::move(discovery));
  }
  for (const SubsystemConfig& subsystem : config().subsystems) {
    if (wanted.empty() || wanted == subsystem.nqn) all.push_back(show(subsystem));
  }
  if (!all.empty()) return json::value(std::move(all));
  return absl::NotFoundError(absl::StrCat("there is no subsystem \"", wanted, "\""));
}

absl::Status Control::check_served(const std::string& nqn) const {
  if (service_.target().find(nqn) != nullptr || nqn == nvme::kDiscoveryNqn) return absl::OkStatus();
  return absl::NotFoundError(
      absl::StrCat("there is no subsystem \"", nqn, "\"; nvmf_get_subsystems lists them"));
}

absl::StatusOr<std::vector<std::shared_ptr<Controller>>> Control::controllers_of(
    const std::string& nqn) const {
  if (absl::Status status = check_served(nqn); !status.ok()) return status;
  std::vector<std::shared_ptr<Controller>> all = service_.target().all_controllers();
  std::erase_if(all, [&](const auto& each) { return each->subsystem().nqn != nqn; });
  return all;
}

Result Control::get_controllers(const Given& given) const {
  const auto controllers = controllers_of(given.text("nqn"));
  if (!controllers.ok()) return controllers.status();
  json::array all;
  for (const auto& controller : *controllers) {
    const Controller::Identity& identity = controller->identity();
    uint32_t io_queues = 0;
    for (const Controller::QueueState& queue : controller->queues()) {
      io_queues += queue.number != 0 ? 1 : 0;
    }
    storage::Uuid id{};
    std::copy(identity.host_id.begin(), identity.host_id.end(), id.begin());
    json::object one;
    one["cntlid"] = identity.id;
    one["cntrltype"] = identity.discovery ? "discovery" : "io";
    one["hostnqn"] = identity.host_nqn;
    one["hostid"] = storage::format_uuid(id);
    one["num_io_qpairs"] = io_queues;
    all.push_back(std::move(one));
  }
  return json::value(std::move(all));
}

Result Control::get_queues(const Given& given) const {
  const auto controllers = controllers_of(given.text("nqn"));
  if (!controllers.ok()) return controllers.status();
  json::array all;
  for (const auto& controller : *controllers) {
    const Controller::Identity& identity = controller->identity();
    for (const Controller::QueueState& queue : controller->queues()) {
      json::object one;
      one["cntlid"] = identity.id;
      one["qid"] = queue.number;
      one["state"] = "enabled";  // true for every queue after Connect
      one["thread"] = absl::StrCat("worker ", queue.worker);
      one["hostnqn"] = identity.host_nqn;
      one["listen_address"] = address(queue.local);
      one["peer_address"] = address(queue.peer);
      all.push_back(std::move(one));
    }
  }
  return json::value(std::move(all));
}

Result Control::get_listeners(const Given& given) const {
  const std::string nqn = given.text("nqn");
  if (absl::Status status = check_served(nqn); !status.ok()) return status;
  json::array all;
  const auto subsystem = service_.target().find(nqn);
  const auto table =
      subsystem != nullptr ? subsystem->namespaces() : std::make_shared<const NamespaceTable>();
  for (const engine::Service::Listening& port : service_.engine().listening()) {
    json::object one;
    one["address"] = address(port.portal.address, port.portal.port);
    one["ana_states"] = ana_states(*table, port.portal.endpoint());
    all.push_back(std::move(one));
  }
  return json::value(std::move(all));
}

Result Control::get_transports(const Given& given) const {
  const std::string wanted = given.text("trtype", "RDMA");
  if (!absl::EqualsIgnoreCase(wanted, "RDMA")) {
    return absl::NotFoundError(absl::StrCat("there is no transport \"", wanted, "\", only RDMA"));
  }
  const engine::Options& options = service_.engine().options();
  json::object one;
  one["trtype"] = "RDMA";
  one["max_queue_depth"] = kMaxQueueEntries;
  one["max_io_qpairs_per_ctrlr"] = kMaxIoQueues;
  one["in_capsule_data_size"] = service_.in_capsule();
  one["max_io_size"] = kMaxTransfer;
  one["io_unit_size"] = engine::kChunk;
  one["max_aq_depth"] = kMaxQueueEntries;
  one["num_shared_buffers"] = options.staging / engine::kChunk * options.threads;
  one["buf_cache_size"] = 0;
  one["dif_insert_or_strip"] = false;
  one["zcopy"] = true;
  one["abort_timeout_sec"] = engine::kAbortPatience / std::chrono::seconds(1);
  return json::value(json::array{std::move(one)});
}

Result Control::get_stats() const {
  const uint32_t workers = service_.engine().workers();
  std::vector<uint32_t> admin(workers);
  std::vector<uint32_t> io(workers);
  for (const auto& controller : service_.target().all_controllers()) {
    for (const Controller::QueueState& queue : controller->queues()) {
      if (queue.worker < workers) ++(queue.number == 0 ? admin : io)[queue.worker];
    }
  }
  std::vector<uint64_t> commands(workers);
  for (const auto& subsystem : service_.target().subsystems()) {
    for (uint32_t i = 0; i < workers; ++i) {
      commands[i] += subsystem->counters(i).reads + subsystem->counters(i).writes;
    }
  }
  const std::vector<Target::QueueCount> ever = service_.target().connected_queues();
  json::array groups;
  for (uint32_t i = 0; i < workers; ++i) {
    json::object one;
    one["name"] = absl::StrCat("worker ", i);
    one["admin_qpairs"] = ever[i].admin;
    one["io_qpairs"] = ever[i].io;
    one["current_admin_qpairs"] = admin[i];
    one["current_io_qpairs"] = io[i];
    one["pending_bdev_io"] = 0;  // requests never wait for a descriptor
    one["completed_nvme_io"] = commands[i];
    one["transports"] = json::array{{{"trtype", "RDMA"}}};
    groups.push_back(std::move(one));
  }
  json::object all;
  all["tick_rate"] = kTickRate;
  all["poll_groups"] = std::move(groups);
  return json::value(std::move(all));
}

void Control::add_show_methods() {
  const Parameter target = target_parameter();
  add_look("nvmf_get_subsystems", "subsystems with their namespaces and hosts",
           {text("nqn", "this one only"), target},
           [this](const Given& given) { return get_subsystems(given); });
  add_look("nvmf_subsystem_get_controllers", "the hosts that are connected",
           {nqn_parameter(), target},
           [this](const Given& given) { return get_controllers(given); });
  add_look("nvmf_subsystem_get_qpairs", "their queues", {nqn_parameter(), target},
           [this](const Given& given) { return get_queues(given); });
  add_look("nvmf_subsystem_get_listeners", "the ports, which serve all subsystems",
           {nqn_parameter(), target}, [this](const Given& given) { return get_listeners(given); });
  add_look("nvmf_get_transports", "the only transport, with its limits",
           {text("trtype", "RDMA"), target},
           [this](const Given& given) { return get_transports(given); });
  add_look("nvmf_get_stats", "queues and commands of each worker thread", {target},
           [this](const Given&) { return get_stats(); });
}

}  // namespace mrpool::nvmf_target
