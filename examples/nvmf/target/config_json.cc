#include "examples/nvmf/target/config_json.h"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <utility>

#include "examples/base/json_print.h"
#include "examples/base/units.h"
#include "examples/engine/options_json.h"
#include "examples/storage/uuid.h"

namespace mrpool::nvmf_target {

namespace json = boost::json;

namespace {

json::object write(const NamespaceConfig& ns) {
  json::object object;
  if (ns.store.empty()) {
    object["storage"] = ns.storage;
  } else {
    object["store"] = ns.store;
  }
  if (ns.nsid != 0) object["nsid"] = ns.nsid;
  if (ns.store.empty() && ns.block_size != storage::kDefaultBlockSize)
    object["block_size"] = ns.block_size;
  if (ns.uuid != Uuid{}) object["uuid"] = storage::format_uuid(ns.uuid);
  if (ns.ana_group > 1) object["anagrpid"] = ns.ana_group;
  if (ns.hosts) object["hosts"] = json::array(ns.hosts->begin(), ns.hosts->end());
  engine::write_limits(ns.limits, object);
  return object;
}

json::object write(const Referral& referral) {
  json::object object;
  object["trtype"] = referral.transport;
  object["traddr"] = referral.address;
  object["trsvcid"] = std::to_string(referral.port);
  if (referral.nqn != nvme::kDiscoveryNqn) object["subnqn"] = referral.nqn;
  if (referral.secure_channel) object["secure_channel"] = true;
  return object;
}

template <typename T>
json::array names_of(const std::vector<T>& all) {
  json::array names;
  for (const T each : all) names.push_back(json::string(to_string(each)));
  return names;
}

json::value write(const std::string& host, const HostProofs& proofs) {
  const auto at = proofs.find(host);
  if (at == proofs.end()) return json::string(host);
  const HostProof& proof = at->second;
  json::object object;
  object["nqn"] = host;
  object["dhchap_key"] = proof.key;
  if (!proof.ctrlr_key.empty()) object["dhchap_ctrlr_key"] = proof.ctrlr_key;
  if (!proof.digests.empty()) object["dhchap_digests"] = names_of(proof.digests);
  if (!proof.dhgroups.empty()) object["dhchap_dhgroups"] = names_of(proof.dhgroups);
  return object;
}

void write_ana(const SubsystemConfig& subsystem, json::object& to) {
  if (!subsystem.ana_reporting) to["ana_reporting"] = false;
  if (subsystem.min_cntlid != 1) to["min_cntlid"] = subsystem.min_cntlid;
  if (subsystem.max_cntlid != kMaxControllerId) to["max_cntlid"] = subsystem.max_cntlid;
  json::array states;
  for (const AnaRule& rule : subsystem.ana) {
    json::object one;
    if (rule.group != 0) one["ana_group"] = rule.group;
    if (!rule.listener.empty()) one["listener"] = rule.listener;
    one["ana_state"] = json::string(to_string(rule.state));
    states.push_back(std::move(one));
  }
  if (!states.empty()) to["ana_states"] = std::move(states);
}

json::object write(const SubsystemConfig& subsystem) {
  json::object object;
  object["nqn"] = subsystem.nqn;
  if (!subsystem.serial.empty()) object["serial"] = subsystem.serial;
  if (!subsystem.model.empty()) object["model"] = subsystem.model;
  if (subsystem.hosts) {
    json::array hosts;
    for (const std::string& host : *subsystem.hosts) {
      hosts.push_back(write(host, subsystem.proofs));
    }
    object["hosts"] = std::move(hosts);
  }
  if (subsystem.allow_any_host) object["allow_any_host"] = true;
  if (subsystem.max_namespaces != kMaxNamespaces) {
    object["max_namespaces"] = subsystem.max_namespaces;
  }
  if (!subsystem.listeners.empty()) {
    object["listeners"] = json::array(subsystem.listeners.begin(), subsystem.listeners.end());
  }
  if (!subsystem.host_limits.empty()) {
    object["host_limits"] = engine::write_host_limits(subsystem.host_limits, "nqn");
  }
  if (!subsystem.traffic_keep_alive) object["traffic_based_keep_alive"] = false;
  write_ana(subsystem, object);
  json::array namespaces;
  for (const NamespaceConfig& ns : subsystem.namespaces) namespaces.push_back(write(ns));
  object["namespaces"] = std::move(namespaces);
  return object;
}

}  // namespace

std::string to_json(const Config& config) {
  json::object root;
  root["listen"] = json::array(config.listen.begin(), config.listen.end());
  if (config.in_capsule != kDefaultInCapsule) {
    root["in_capsule"] = base::exact_size(config.in_capsule);
  }
  engine::write_options(config.engine, root);
  if (!config.referrals.empty()) {
    json::array referrals;
    for (const Referral& each : config.referrals) referrals.push_back(write(each));
    root["referrals"] = std::move(referrals);
  }
  if (!config.keys.empty()) {
    json::array keys;
    for (const NamedKey& key : config.keys)
      keys.push_back({{"name", key.name}, {"path", key.path}});
    root["keys"] = std::move(keys);
  }
  if (config.discovery_proof != DiscoveryProof::kOff) {
    root["discovery_authentication"] = to_string(config.discovery_proof);
  }
  engine::write_stores(config.stores, storage::kDefaultBlockSize, root);
  json::array subsystems;
  for (const SubsystemConfig& subsystem : config.subsystems) subsystems.push_back(write(subsystem));
  root["subsystems"] = std::move(subsystems);
  return base::print_json(root);
}

}  // namespace mrpool::nvmf_target
