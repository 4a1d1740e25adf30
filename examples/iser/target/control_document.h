// The document that the control socket's iSCSI methods change: portal groups, initiator groups,
// accounts and target nodes by tags and names, as in SPDK, and the configuration that results from
// them.
//
// A configuration file has only targets. from() creates equivalent groups for each; to_config() is
// the inverse. So a configuration that is saved and loaded grants the same access, under other
// tags.
//
// In this daemon every portal serves every target. So all target nodes must have the same portal
// groups; a document that would grant more access than its groups is refused.
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

// The secrets of both sides. `initiator`: the only initiator that may use the account; empty: all.
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
  Config rest{};  // the parts that the methods do not change
  std::map<uint32_t, std::vector<std::string>> portals{};  // addresses by tag
  std::map<uint32_t, std::vector<std::string>> initiators{};
  std::map<uint32_t, std::vector<GroupAccount>> accounts{};
  std::map<std::string, TargetNode> nodes{};
  NodeAuth discovery{};

  static ControlDocument from(const Config& config);
  // FailedPrecondition or InvalidArgument names the group or target that does not fit. Call
  // complete() on the result.
  absl::StatusOr<Config> to_config() const;
};

}  // namespace mrpool::iser_target
