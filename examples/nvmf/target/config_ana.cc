// The configuration of ANA: states of groups at listeners, and the range of controller ids.
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "examples/base/ip_address.h"
#include "examples/base/json_lines.h"
#include "examples/base/json_object.h"
#include "examples/engine/listen.h"
#include "examples/nvmf/target/config.h"
#include "mrpool/device.h"

namespace mrpool::nvmf_target {
namespace {

template <typename... Parts>
absl::Status bad(const Parts&... parts) {
  return absl::InvalidArgumentError(absl::StrCat(parts...));
}

void read_state(base::JsonObject& object, std::vector<AnaRule>& rules) {
  AnaRule rule;
  std::string state;
  object.number("ana_group", rule.group, {.least = 1, .most = kMaxAnaGroups});
  object.text("listener", rule.listener);
  object.text("ana_state", state);
  const auto parsed = nvme::parse_ana_state(state);
  if (!parsed.ok()) return object.refuse("ana_state", std::string(parsed.status().message()));
  rule.state = *parsed;
  rules.push_back(std::move(rule));
}

// True if `port`, from the configuration, may be the listener `wanted`.
bool same_port(const std::string& port, const Address& wanted) {
  const auto address = Address::parse(port);
  return address.ok() && address->transport == wanted.transport && address->host == wanted.host &&
         (address->port == wanted.port || address->port == 0);
}

absl::Status check_listener(AnaRule& rule, const std::vector<std::string>& ports) {
  if (rule.listener.empty()) return absl::OkStatus();
  std::vector<std::string> one{rule.listener};
  if (absl::Status status = engine::complete_listen(one, nvme::kDefaultPort); !status.ok()) {
    return status;
  }
  rule.listener = one.front();
  const auto address = Address::parse(rule.listener);
  if (!address->host.empty() && !base::IpAddress::parse(address->host)) {
    return bad("listener \"", rule.listener, "\" names a host; ANA needs a numeric address");
  }
  if (std::ranges::any_of(ports, [&](const auto& port) { return same_port(port, *address); })) {
    return absl::OkStatus();
  }
  return bad("\"", rule.listener, "\" is not a listener; write one that is listened on");
}

}  // namespace

void read_ana(base::JsonObject& object, SubsystemConfig& subsystem) {
  object.flag("ana_reporting", subsystem.ana_reporting);
  object.objects("ana_states", [&](base::JsonObject& each) { read_state(each, subsystem.ana); });
  object.number("min_cntlid", subsystem.min_cntlid, {.least = 1, .most = kMaxControllerId});
  object.number("max_cntlid", subsystem.max_cntlid, {.least = 1, .most = kMaxControllerId});
}

absl::Status check_ana(SubsystemConfig& subsystem, const Config& config) {
  const std::string place = absl::StrCat(base::at_line(subsystem.line), subsystem.nqn, ": ");
  if (subsystem.min_cntlid > subsystem.max_cntlid) {
    return bad(place, "min_cntlid ", subsystem.min_cntlid, " is above max_cntlid ",
               subsystem.max_cntlid);
  }
  for (NamespaceConfig& ns : subsystem.namespaces) {
    if (ns.ana_group == 0) ns.ana_group = 1;
    if (ns.ana_group <= kMaxAnaGroups) continue;
    return bad(base::at_line(ns.line), subsystem.nqn, " namespace ", ns.nsid, ": anagrpid ",
               ns.ana_group, " is above ", kMaxAnaGroups);
  }
  if (!subsystem.ana_reporting && !subsystem.ana.empty()) {
    return bad(place, "it has ANA states, but no ANA reporting; leave one of them out");
  }
  const std::vector<std::string> ports = ports_of(config);
  for (AnaRule& rule : subsystem.ana) {
    if (absl::Status status = check_listener(rule, ports); !status.ok()) {
      return bad(place, "ana_states: ", status.message());
    }
  }
  return absl::OkStatus();
}

void forget_listeners(Config& config) {
  const std::vector<std::string> ports = ports_of(config);
  for (SubsystemConfig& subsystem : config.subsystems) {
    std::erase_if(subsystem.ana, [&](const AnaRule& rule) {
      const auto address = Address::parse(rule.listener);
      return !rule.listener.empty() && address.ok() &&
             std::ranges::none_of(ports,
                                  [&](const auto& port) { return same_port(port, *address); });
    });
  }
}

}  // namespace mrpool::nvmf_target
