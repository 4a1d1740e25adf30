// What the daemon is told to serve, from its command line or a JSON file.
//
// {
//   "listen": ["uiwarp://0.0.0.0:4420"],
//   "threads": 2, "staging": "32MiB", "mrs": 1024, "max_connections": 2048, "stall_timeout": 15,
//   "force_mr": false, "relaxed_ordering": true, "verbose": false,   all optional
//   "subsystems": [{
//     "nqn": "nqn.2024-01.example:disk1",
//     "serial": "0001",                    optional, derived from the NQN
//     "hosts": ["nqn.2024-01.example:a"],  optional, any host when absent
//     "traffic_based_keep_alive": true,    optional
//     "namespaces": [{
//       "storage": "file:/srv/disk.img,direct",
//       "nsid": 1,                         optional, 1, 2, ... in order
//       "block_size": 4096,                optional; ",bs=" of the storage goes before it
//       "uuid": "..."                      optional, derived from NQN, nsid and storage
//     }]
//   }]
// }
//
// Pure: text in, a checked Config or an error that names the place and what to write instead.
// Unknown keys are errors: a misspelt option must not be silently without effect.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "examples/engine/options.h"
#include "examples/nvmf/target/subsystem.h"
#include "examples/storage/storage.h"

namespace mrpool::nvmf_target {

struct NamespaceConfig {
  uint32_t nsid = 0;
  std::string storage;
  uint32_t block_size =
      storage::kDefaultBlockSize;  // after complete(): what the storage is opened with
  Uuid uuid{};
};

struct SubsystemConfig {
  std::string nqn;
  std::string serial;
  std::optional<std::set<std::string, std::less<>>> hosts;  // absent: any
  bool traffic_keep_alive = true;
  std::vector<NamespaceConfig> namespaces;
};

struct Config {
  std::vector<std::string> listen;
  std::vector<SubsystemConfig> subsystems;
  engine::Options engine;  // for the whole life of the daemon: a reload does not change it
};

absl::StatusOr<Config> parse_config(std::string_view json);
// Fills what was left out (nsids, serials, uuids) and checks that all fits together.
absl::Status complete(Config& config);

absl::StatusOr<Uuid> parse_uuid(std::string_view text);
// The same name gives the same UUID (version 8, from a 64 bit hash), so that a host finds its
// namespaces again after a restart.
Uuid derive_uuid(std::string_view name);
std::string derive_serial(std::string_view nqn);

}  // namespace mrpool::nvmf_target
