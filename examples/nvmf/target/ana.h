// Asymmetric Namespace Access (ANA): how well hosts reach the namespaces of each group through each
// port.
//
// Every namespace belongs to a group. A group has one state at each port, by rules. A
// namespace table carries the rules, so a change of a state reaches hosts like a change of a
// namespace: the queues see a new table with their next command.
//
// Thread safety: values. Clauses: [base] 8.1 ANA, 5.14.1.12 its log page.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "examples/nvmf/target/limits.h"
#include "examples/protocol/nvme/ana.h"
#include "examples/protocol/nvme/status.h"

namespace mrpool::nvmf_target {

using nvme::AnaState;

// The status of a command that needs a namespace in that state; success: it may run. Without Do Not
// Retry, because another path may execute it.
nvme::Status path_status(AnaState state);

// A state that was set. Of the rules for a group and a port, the last is valid.
struct AnaRule {
  uint32_t group = 0;         // 0: all groups
  std::string listener = {};  // "uiwarp://10.0.0.1:4420"; empty: all ports
  AnaState state = AnaState::kOptimized;

  bool operator==(const AnaRule&) const = default;
};
// Adds a rule and removes those that it replaces.
void set_ana_state(std::vector<AnaRule>& rules, AnaRule rule);
// True if a connection to `local` ("10.0.0.1:4420") came through the listener. A listener of port 0
// has any port.
bool came_through(const std::string& listener, std::string_view local);

// The states at one port, by group.
using AnaStates = std::array<AnaState, kMaxAnaGroups + 1>;

// The part of a namespace table.
struct Ana {
  std::vector<AnaRule> rules{};
  // In a group of gateways: the state of each group at every port of this one; where it is not
  // optimized, it takes precedence over the rules. Null: there is no group of gateways.
  std::shared_ptr<const AnaStates> ownership{};
  // Since the start: how often the log page changed at some port, as a whole and for each group.
  uint64_t changes = 0;
  std::map<uint32_t, uint64_t> group_changes{};

  AnaStates at(std::string_view local) const;
};

}  // namespace mrpool::nvmf_target
