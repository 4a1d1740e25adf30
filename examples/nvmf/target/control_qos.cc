// The control socket's view of limits.
#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "examples/nvmf/target/control.h"

namespace mrpool::nvmf_target {

namespace json = boost::json;
using control::Given;
using control::Parameter;

namespace {

constexpr char kHostMethod[] = "mrpool_nvmf_subsystem_host_set_qos_limit";

// The limits of a named store, or of a namespace's own.
engine::RateLimits* find_limits(Config& config, const std::string& store) {
  const auto named = std::ranges::find(config.stores, store, &engine::NamedStore::name);
  if (named != config.stores.end()) return &named->limits;
  for (SubsystemConfig& subsystem : config.subsystems) {
    for (NamespaceConfig& ns : subsystem.namespaces) {
      if (ns.store.empty() && own_store_name(subsystem.nqn, ns.nsid) == store) return &ns.limits;
    }
  }
  return nullptr;
}

}  // namespace

std::vector<engine::Step> Control::change_limits(const std::string& store, EditLimits edit) {
  return live_.change([store, edit = std::move(edit)](Config& config) {
    engine::RateLimits* const limits = find_limits(config, store);
    if (limits != nullptr) return edit(*limits);
    return absl::NotFoundError(
        absl::StrCat("there is no store \"", store, "\"; bdev_get_bdevs lists them"));
  });
}

void Control::add_limit_methods() {
  std::vector<Parameter> parameters = engine::limit_parameters();
  parameters.insert(
      parameters.begin(),
      {nqn_parameter(), target_parameter(),
       required(control::text("host",
                              "the NQN of a host, or * for each that has no limit of its "
                              "own"))});
  add_change(kHostMethod, "limit the rate of a host's commands; what is not given stays",
             std::move(parameters), [](const Given& given, Config& config, json::value&) {
               const auto found = find_subsystem(config, given.text("nqn"));
               if (!found.ok()) return found.status();
               return engine::set_host_limits(given, given.text("host"), (*found)->host_limits);
             });
}

void add_limit_calls(const SubsystemConfig& subsystem, json::array& to) {
  for (json::value& each : engine::write_host_limits(subsystem.host_limits, "host")) {
    json::object parameters = std::move(each.as_object());
    parameters["nqn"] = subsystem.nqn;
    to.push_back(json::object{{"method", kHostMethod}, {"params", std::move(parameters)}});
  }
}

void add_limit_call(const std::string& store, const engine::RateLimits& limits, json::array& to) {
  if (!limits.any()) return;
  json::object parameters{{"name", store}};
  engine::write_limits(limits, parameters);
  to.push_back(json::object{{"method", "bdev_set_qos_limit"}, {"params", std::move(parameters)}});
}

}  // namespace mrpool::nvmf_target
