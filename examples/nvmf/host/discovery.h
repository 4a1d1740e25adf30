// The discovery log: what a target offers to this host.
//
// Thread safety: as Controller.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "examples/nvmf/host/controller.h"

namespace mrpool::nvme::host {

struct DiscoveryLog {
  uint64_t generation = 0;
  std::vector<nvmf_disc_log_entry> entries;
};

// Reads the whole log of a connected discovery controller; again when it changed meanwhile.
Async<absl::StatusOr<DiscoveryLog>> read_discovery_log(Controller& controller);

// "rdma", "nvme", "ipv4" and so on; numbers where there is no name.
std::string transport_name(const nvmf_disc_log_entry& entry);
std::string subsystem_type_name(const nvmf_disc_log_entry& entry);
std::string address_family_name(const nvmf_disc_log_entry& entry);
std::string requirements_name(const nvmf_disc_log_entry& entry);  // "secure channel required"

}  // namespace mrpool::nvme::host
