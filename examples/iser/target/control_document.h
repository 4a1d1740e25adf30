// What the control socket's iSCSI methods change: portal groups, initiator groups, accounts and
// target nodes by tags and names, as SPDK has them, and the configuration that follows from them.
//
// A configuration file knows targets alone. from() gives each the groups that mean the same, and
// to_config() is the way back, so a configuration that is saved and loaded again serves the same to
// the same, by other tags.
//
// Here every portal reaches every target. So all target nodes have the same portal groups, and what
// would let in more than the groups say is refused.
//
// Thread safety: values.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "examples/iser/target/config.h"

namespace mrpool::iser_target {

inline constexpr const char* kAnybody = "ANY";
inline constexpr size_t kMaxGroups = 1024;  // of each kind

// Proofs of both sides. `initiator`: the only one whose account it is; empty: of all.
struct GroupAccount {
  std::string user{};
  std::string secret{};
  std::string muser{};
  std::string msecret{};
  std::string initiator{};
};

struct NodeAuth {
  bool disable_chap = false;
  bool require_chap = false;
  bool mutual_chap = false;
  uint32_t chap_group = 0;  // 0: none
};

struct TargetNode {
  TargetConfig target{};                              // its name, alias and LUNs
  std::vector<std::pair<uint32_t, uint32_t>> maps{};  // portal group, initiator group
  NodeAuth auth{};
};

struct ControlDocument {
  Config rest{};                                           // what the methods do not change
  std::map<uint32_t, std::vector<std::string>> portals{};  // addresses by tag
  std::map<uint32_t, std::vector<std::string>> initiators{};
  std::map<uint32_t, std::vector<GroupAccount>> accounts{};
  std::map<std::string, TargetNode> nodes{};
  NodeAuth discovery{};

  static ControlDocument from(const Config& config);
  // FailedPrecondition or InvalidArgument says which group or target does not fit. The result is
  // not yet complete().
  absl::StatusOr<Config> to_config() const;
};

}  // namespace mrpool::iser_target
