// The daemon's configuration: from options, or from a JSON file with several targets.
//
//   {"listen": ["uiwarp://0.0.0.0:3260"],
//    "state_dir": "/var/lib/mrpool",
//    "threads": 2, "staging": "32MiB", "mrs": 1024, "max_connections": 2048, "stall_timeout": 15,
//    "force_mr": false, "relaxed_ordering": true, "verbose": false,
//    "discovery_chap": "user:secret", "discovery_mutual_chap": "user:secret",
//    "targets": [{"name": "iqn.2026-11.org.example:disk",
//                 "alias": "disk", "luns": ["ram:64MiB", "file:/srv/disk.img,direct"],
//                 "chap": "user:secret", "mutual_chap": "user:secret",
//                 "initiators": ["iqn.2026-11.org.example:host"]}]}
//
// Thread safety: values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "examples/engine/options.h"
#include "examples/protocol/iscsi/login.h"

namespace mrpool::iser_target {

struct TargetConfig {
  std::string name{};
  std::string alias{};
  std::vector<std::string> luns{};  // storage specs, LUN 0 first
  iscsi::Authentication authentication{};
  std::vector<std::string> initiators{};  // empty: everybody
};

struct Config {
  std::vector<std::string> listen{};
  std::vector<TargetConfig> targets{};
  iscsi::Authentication discovery{};
  std::string state_dir{};  // where reservations outlive the process; empty: they do not
  uint32_t block_size = 512;
  bool initial_r2t = true;
  bool immediate_data = true;
  engine::Options engine{};
};

// InvalidArgument names the key or value that is wrong and the mend.
absl::StatusOr<Config> parse_json(std::string_view text);
// What options and files have to have in common: names are iSCSI names, no target twice, mutual
// secrets need one-way ones and differ from them, at least one target, LUN and portal.
absl::Status validate(const Config& config);

}  // namespace mrpool::iser_target
