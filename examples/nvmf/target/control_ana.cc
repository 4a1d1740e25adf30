// ANA on the control socket: the state of a group at a listener.
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "examples/nvmf/target/ana.h"
#include "examples/nvmf/target/control.h"
#include "examples/nvmf/target/limits.h"
#include "examples/protocol/nvme/wire.h"

namespace mrpool::nvmf_target {

namespace json = boost::json;
using control::choice;
using control::Given;
using control::number;
using control::Parameter;
using control::required;

Parameter ana_state_parameter() {
  return choice("ana_state", "the state of ANA groups at the port",
                {std::begin(nvme::kAnaStateNames), std::end(nvme::kAnaStateNames)});
}

absl::Status set_ana_state_of(const Given& given, const std::string& listener,
                              SubsystemConfig& subsystem) {
  if (!subsystem.ana_reporting) {
    return absl::FailedPreconditionError(absl::StrCat("hosts do not learn the ANA states of ",
                                                      subsystem.nqn,
                                                      "; create it with \"ana_reporting\": true"));
  }
  const auto state = nvme::parse_ana_state(given.text("ana_state"));
  if (!state.ok()) return state.status();
  set_ana_state(subsystem.ana, {uint32_t(given.number("anagrpid")), listener, *state});
  return absl::OkStatus();
}

void Control::add_ana_methods() {
  add_change(
      "nvmf_subsystem_listener_set_ana_state",
      "set how well hosts reach namespaces through a port; they learn it at once",
      {nqn_parameter(), target_parameter(), listen_address(), required(ana_state_parameter()),
       number("anagrpid", "the group; default: all groups", 0, kMaxAnaGroups)},
      [](const Given& given, Config& config, json::value&) {
        const auto found = find_subsystem(config, given.text("nqn"));
        if (!found.ok()) return found.status();
        if (!given.has("listen_address")) return set_ana_state_of(given, {}, **found);
        const auto address = address_of(given.object("listen_address"), config);
        if (!address.ok()) return address.status();
        return set_ana_state_of(given, *address, **found);
      });
}

json::array ana_states(const NamespaceTable& table, const std::string& endpoint) {
  std::set<uint32_t> groups{1};
  for (const Namespace& ns : table.namespaces) groups.insert(ns.ana_group);
  for (const AnaRule& rule : table.ana.rules) {
    if (rule.group != 0) groups.insert(rule.group);
  }
  const AnaStates states = table.ana.at(endpoint);
  json::array all;
  for (const uint32_t group : groups) {
    all.push_back({{"ana_group", group}, {"ana_state", json::string(to_string(states[group]))}});
  }
  return all;
}

json::array ana_calls(const SubsystemConfig& subsystem) {
  json::array all;
  for (const AnaRule& rule : subsystem.ana) {
    json::object parameters{{"nqn", subsystem.nqn},
                            {"ana_state", json::string(to_string(rule.state))}};
    if (!rule.listener.empty()) parameters["listen_address"] = listener_parameter(rule.listener);
    if (rule.group != 0) parameters["anagrpid"] = rule.group;
    all.push_back(
        {{"method", "nvmf_subsystem_listener_set_ana_state"}, {"params", std::move(parameters)}});
  }
  return all;
}

}  // namespace mrpool::nvmf_target
