// The daemon's configuration, from its command line or a JSON file.
//
// {
//   "listen": ["uiwarp://0.0.0.0:4420"],
//   "threads": 2, "staging": "32MiB", "mrs": 1024, "max_connections": 2048, "stall_timeout": 15,
//   "storage_timeout": 10, "stop_timeout": 20,
//   "force_mr": false, "relaxed_ordering": true, "retry_listen": false, "spin": "50us",
//   "in_capsule": "4KiB",
//   "state_dir": "/var/lib/mrpool", "control": "/run/nvmf.sock", "verbose": false,   all optional
//   "referrals": [{"traddr": "10.0.0.9", "trsvcid": "4420"}],           optional
//   "keys": [{"name": "host1", "path": "/etc/mrpool/host1.key"}],       optional
//   "discovery_authentication": "off",                                  optional, or "keys",
//                                        "required": discovery_access.h
//   "stores": [{"name": "disk", "storage": "file:/srv/disk.img"}],      optional
//   "subsystems": [{
//     "nqn": "nqn.2024-01.example:disk1",
//     "serial": "0001",                    optional, derived from the NQN
//     "model": "SSD",                      optional
//     "hosts": ["nqn.2024-01.example:a"],  optional, any host when absent; or objects with
//                                          "nqn", "dhchap_key" and more: host_keys.h
//     "allow_any_host": false,             optional, overrides "hosts"
//     "host_limits": [{"nqn": "*", ...}],  optional: engine/host_limits.h
//     "max_namespaces": 16,                optional
//     "listeners": ["uiwarp://[::1]"],     optional, more ports
//     "traffic_based_keep_alive": true,    optional
//     "ana_reporting": true,               optional
//     "ana_states": [{"ana_group": 2, "listener": "uiwarp://[::1]", "ana_state": "inaccessible"}],
//                                          optional; without a group: all, without a listener: all
//     "min_cntlid": 1,                     optional, the range of controller ids
//     "max_cntlid": 1000,
//     "namespaces": [{
//       "storage": "file:/srv/disk.img,direct",  or "store": "disk"
//       "nsid": 1,                         optional, the lowest free one
//       "block_size": 4096,                optional, like ",bs=" of the storage
//       "uuid": "...",                     optional, derived from the store
//       "anagrpid": 2,                     optional, its ANA group; 1 when absent
//       "rw_ios_per_sec": 1000, ...        optional, of its own storage: engine/rate_limits.h
//       "hosts": ["nqn.2024-01.example:a"] optional, those that see it; all when absent
//     }]
//   }]
// }
//
// With a control socket, the configuration may have no subsystems yet.
//
// engine::read_options in examples/engine/options.cc reads the keys of both daemons (threads,
// staging, ...).
//
// nsid, uuid and limits may also be options of the storage: "file:/srv/disk.img,nsid=1".
//
// Pure: the input is text; the result is a checked Config, or an error with the line and the
// remedy. Unknown keys are errors, so that a misspelt option is not ignored.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "examples/engine/host_limits.h"
#include "examples/engine/named_stores.h"
#include "examples/engine/options.h"
#include "examples/engine/rate_limits.h"
#include "examples/nvmf/target/ana.h"
#include "examples/nvmf/target/discovery_access.h"
#include "examples/nvmf/target/host_keys.h"
#include "examples/nvmf/target/limits.h"
#include "examples/nvmf/target/referral.h"
#include "examples/nvmf/target/subsystem.h"
#include "examples/storage/storage.h"
#include "examples/storage/stores.h"

namespace mrpool::base {
class JsonObject;
}  // namespace mrpool::base

namespace mrpool::nvmf_target {

struct NamespaceConfig {
  uint32_t nsid = 0;  // 0, before complete(): the lowest free one
  std::string storage{};
  std::string store{};  // instead of `storage`: a name in Config::stores
  uint32_t block_size = storage::kDefaultBlockSize;  // after complete(): the one it opens with
  Uuid uuid{};                                       // all zeroes: from the store
  std::optional<HostSet> hosts{};  // those that see it; absent: all that may connect
  uint32_t ana_group = 0;          // 0, before complete(): 1
  engine::RateLimits limits{};     // of `storage`
  bool given = false;              // after complete(): the nsid was specified
  uint32_t line = 0;               // of the file; 0: there is none
};
// Moves the options that concern the namespace (nsid, uuid, anagrpid, limits) out of `storage`; the
// rest stays for the storage.
absl::Status take_own_options(NamespaceConfig& ns);

struct SubsystemConfig {
  std::string nqn;
  std::string serial;
  std::string model{};             // empty: the default
  std::optional<HostSet> hosts{};  // absent: any
  bool allow_any_host = false;     // overrides `hosts`
  HostProofs proofs{};             // of those `hosts` that must authenticate
  uint32_t max_namespaces = kMaxNamespaces;
  engine::HostLimitMap host_limits{};
  std::vector<std::string> listeners{};  // they serve all subsystems
  bool traffic_keep_alive = true;
  bool ana_reporting = true;
  std::vector<AnaRule> ana{};
  uint16_t min_cntlid = 1;  // the range of the ids of controllers
  uint16_t max_cntlid = kMaxControllerId;
  std::vector<NamespaceConfig> namespaces{};
  uint32_t line = 0;  // of the file; 0: there is none
};
inline bool admits_any(const SubsystemConfig& subsystem) {
  return !subsystem.hosts || subsystem.allow_any_host;
}

struct Config {
  std::vector<std::string> listen;
  std::vector<Referral> referrals{};
  std::vector<NamedKey> keys{};
  DiscoveryProof discovery_proof = DiscoveryProof::kOff;
  std::vector<engine::NamedStore> stores;
  std::vector<SubsystemConfig> subsystems;
  uint32_t in_capsule = kDefaultInCapsule;
  engine::Options engine;     // a reload does not change them
  bool may_be_empty = false;  // the control socket adds the rest
};

// `may_be_empty`: a control socket exists, even if the file has none.
absl::StatusOr<Config> parse_config(std::string_view json, bool may_be_empty = false);
// Fills missing values (nsids, serials) and checks the configuration as a whole, without opening
// anything.
absl::Status complete(Config& config);

// config_ana.cc: the keys of ANA and the range of controller ids.
void read_ana(base::JsonObject& object, SubsystemConfig& subsystem);
absl::Status check_ana(SubsystemConfig& subsystem, const Config& config);
// Forgets the states of listeners that no longer exist.
void forget_listeners(Config& config);

// Checks that `bytes` is a valid size for data in capsules.
absl::Status check_in_capsule(uint32_t bytes);

// "namespace 3".
std::string place_of(uint32_t nsid);
// The addresses that the daemon listens on: `listen`, and the listeners of subsystems.
std::vector<std::string> ports_of(const Config& config);
// The storage and the block size that a namespace's store is opened with.
std::string storage_of(const Config& config, const NamespaceConfig& ns);
uint32_t block_size_of(const Config& config, const NamespaceConfig& ns);
// The limits of its store.
const engine::RateLimits& limits_of(const Config& config, const NamespaceConfig& ns);
// After complete(): the stores of all namespaces that have their own, in order, then the named
// ones.
std::vector<storage::WantedStore> wanted_stores(const Config& config);

// config_gateway.cc: what a gateway of a group may not have; after complete().
absl::Status check_gateway(const Config& config);
// The address that a namespace's store is opened with, in a group of gateways or not.
std::string address_of(const Config& config, const NamespaceConfig& ns);
// How many ANA groups there are for the group of gateways.
uint32_t gateway_groups(const Config& config);

// Equal NQNs have equal serial numbers.
std::string derive_serial(std::string_view nqn);

}  // namespace mrpool::nvmf_target
