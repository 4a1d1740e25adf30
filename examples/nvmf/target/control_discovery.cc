// The methods of the authentication in discovery.
#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <utility>

#include "examples/nvmf/target/control.h"

namespace mrpool::nvmf_target {

namespace json = boost::json;
using control::Given;
using control::required;

namespace {

constexpr char kMethod[] = "mrpool_nvmf_discovery_set_authentication";

}  // namespace

// As nvmf_get_subsystems shows a subsystem.
json::object show_discovery(const Config& config) {
  json::object one;
  one["nqn"] = json::string(std::string_view(nvme::kDiscoveryNqn));
  one["subtype"] = "Discovery";
  one["allow_any_host"] = config.discovery_proof != DiscoveryProof::kRequired;
  HostSet hosts;
  for (const SubsystemConfig& subsystem : config.subsystems) {
    for (const auto& [host, proof] : subsystem.proofs) hosts.insert(host);
  }
  if (config.discovery_proof == DiscoveryProof::kOff) hosts.clear();
  json::array shown;
  for (const std::string& host : hosts) shown.push_back(json::object{{"nqn", host}});
  one["hosts"] = std::move(shown);
  one["authentication"] = to_string(config.discovery_proof);
  return one;
}

json::array discovery_calls(const Config& config) {
  json::array all;
  if (config.discovery_proof == DiscoveryProof::kOff) return all;
  json::object one;
  one["method"] = kMethod;
  one["params"] = json::object{{"mode", to_string(config.discovery_proof)}};
  all.push_back(std::move(one));
  return all;
}

void Control::add_discovery_methods() {
  add_change(kMethod, "which hosts must prove themselves in discovery (DH-HMAC-CHAP)",
             {target_parameter(),
              required(control::choice(
                  "mode", "nobody; those with a key; these, and no others may discover",
                  {"off", "keys", "required"}))},
             [](const Given& given, Config& config, json::value&) {
               const std::string mode = given.text("mode");
               for (const auto& [name, proof] : discovery_proofs()) {
                 if (name == mode) config.discovery_proof = proof;
               }
               return absl::OkStatus();
             });
}

}  // namespace mrpool::nvmf_target
