// The configuration of a gateway of a group: every namespace is an image of the cluster, and is in
// one of the ANA groups that have an owner.
#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "examples/base/json_lines.h"
#include "examples/gateway/daemon/options.h"
#include "examples/nvmf/target/config.h"

namespace mrpool::nvmf_target {
namespace {

absl::Status check_subsystem(const SubsystemConfig& subsystem, const Config& config) {
  const gateway::Options& options = config.engine.gateway;
  if (!subsystem.ana_reporting) {
    return absl::InvalidArgumentError(
        absl::StrCat(base::at_line(subsystem.line), subsystem.nqn,
                     ": gateways need ANA reporting; leave \"ana_reporting\": false out"));
  }
  for (const NamespaceConfig& ns : subsystem.namespaces) {
    const std::string place =
        absl::StrCat(base::at_line(ns.line), subsystem.nqn, " ", place_of(ns.nsid), ": ");
    if (options.groups != 0 && ns.ana_group > options.groups) {
      return absl::InvalidArgumentError(
          absl::StrCat(place, "anagrpid ", ns.ana_group, " is above the ", options.groups,
                       " ANA groups of the gateways; raise \"groups\" at all of them"));
    }
    const auto store = gateway::store_of(options, ns.ana_group, storage_of(config, ns));
    if (!store.ok()) {
      return absl::InvalidArgumentError(absl::StrCat(place, store.status().message()));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status check_gateway(const Config& config) {
  if (!config.engine.gateway.any()) return absl::OkStatus();
  for (const SubsystemConfig& subsystem : config.subsystems) {
    if (absl::Status status = check_subsystem(subsystem, config); !status.ok()) return status;
  }
  return absl::OkStatus();
}

std::string address_of(const Config& config, const NamespaceConfig& ns) {
  const std::string own = storage_of(config, ns);
  if (!config.engine.gateway.any()) return own;
  const auto store = gateway::store_of(config.engine.gateway, std::max(ns.ana_group, 1u), own);
  return store.ok() ? *store : own;
}

uint32_t gateway_groups(const Config& config) {
  uint32_t most = std::max(config.engine.gateway.groups, 1u);
  for (const SubsystemConfig& subsystem : config.subsystems) {
    for (const NamespaceConfig& ns : subsystem.namespaces) most = std::max(most, ns.ana_group);
  }
  return most;
}

}  // namespace mrpool::nvmf_target
