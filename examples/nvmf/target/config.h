// What the daemon is told to serve, from its command line or a JSON file.
//
// {
//   "listen": ["uiwarp://0.0.0.0:4420"],
//   "threads": 2, "staging": "32MiB", "mrs": 1024, "max_connections": 2048, "stall_timeout": 15,
//   "storage_timeout": 10, "stop_timeout": 20,
//   "force_mr": false, "relaxed_ordering": true, "retry_listen": false, "spin": "50us",
//   "in_capsule": "4KiB",
//   "state_dir": "/var/lib/mrpool", "control": "/run/nvmf.sock", "verbose": false,   all optional
//   "referrals": [{"traddr": "10.0.0.9", "trsvcid": "4420"}],           optional
//   "stores": [{"name": "disk", "storage": "file:/srv/disk.img"}],      optional
//   "subsystems": [{
//     "nqn": "nqn.2024-01.example:disk1",
//     "serial": "0001",                    optional, derived from the NQN
//     "model": "SSD",                      optional
//     "hosts": ["nqn.2024-01.example:a"],  optional, any host when absent
//     "allow_any_host": false,             optional, any host in spite of a list
//     "max_namespaces": 16,                optional
//     "listeners": ["uiwarp://[::1]"],     optional, more ports, for as long as one lists them
//     "traffic_based_keep_alive": true,    optional
//     "namespaces": [{
//       "storage": "file:/srv/disk.img,direct",  or "store": "disk"
//       "nsid": 1,                         optional, the lowest that is free
//       "block_size": 4096,                optional, as ",bs=" of the storage
//       "uuid": "...",                     optional, follows from what the store is
//       "hosts": ["nqn.2024-01.example:a"] optional, those that see it; all when absent
//     }]
//   }]
// }
//
// A daemon with a control socket may be configured to serve nothing yet.
//
// The keys of both daemons (threads, staging, ...) are read by engine::read_options in
// examples/engine/options.cc.
//
// nsid and uuid may also be options of the storage: "file:/srv/disk.img,nsid=1".
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
#include "examples/engine/named_stores.h"
#include "examples/engine/options.h"
#include "examples/nvmf/target/limits.h"
#include "examples/nvmf/target/referral.h"
#include "examples/nvmf/target/subsystem.h"
#include "examples/storage/storage.h"
#include "examples/storage/stores.h"

namespace mrpool::nvmf_target {

struct NamespaceConfig {
  uint32_t nsid = 0;  // 0: the lowest that is free, until complete()
  std::string storage{};
  std::string store{};  // instead: the name of one of Config::stores
  uint32_t block_size =
      storage::kDefaultBlockSize;  // after complete(): what the storage is opened with
  Uuid uuid{};                     // all zeroes: follows from the store
  std::optional<HostSet> hosts{};  // those that see it; absent: all that may connect
  bool given = false;              // after complete(): the nsid was written
  uint32_t line = 0;               // of the file; 0: there is none
};
// Sets what options of the storage say of the namespace, and leaves the rest to the storage.
absl::Status take_own_options(NamespaceConfig& ns);

struct SubsystemConfig {
  std::string nqn;
  std::string serial;
  std::string model{};             // empty: the usual one
  std::optional<HostSet> hosts{};  // absent: any
  bool allow_any_host = false;     // in spite of `hosts`
  uint32_t max_namespaces = kMaxNamespaces;
  std::vector<std::string> listeners{};  // serve the others too
  bool traffic_keep_alive = true;
  std::vector<NamespaceConfig> namespaces{};
  uint32_t line = 0;  // of the file; 0: there is none
};
inline bool admits_any(const SubsystemConfig& subsystem) {
  return !subsystem.hosts || subsystem.allow_any_host;
}

struct Config {
  std::vector<std::string> listen;
  std::vector<Referral> referrals{};
  std::vector<engine::NamedStore> stores;
  std::vector<SubsystemConfig> subsystems;
  uint32_t in_capsule = kDefaultInCapsule;
  engine::Options engine;     // for the whole life of the daemon: a reload does not change it
  bool may_be_empty = false;  // what is missing comes by the control socket
};

// `may_be_empty`: there is a control socket, whatever the file says.
absl::StatusOr<Config> parse_config(std::string_view json, bool may_be_empty = false);
// Fills what was left out (nsids, serials) and checks that all fits together, without opening
// anything.
absl::Status complete(Config& config);

// Whether capsules can have room for so many bytes of data.
absl::Status check_in_capsule(uint32_t bytes);

// "namespace 3".
std::string place_of(uint32_t nsid);
// Where the daemon listens: `listen`, and the listeners of subsystems.
std::vector<std::string> ports_of(const Config& config);
// How the store of a namespace is opened.
std::string storage_of(const Config& config, const NamespaceConfig& ns);
uint32_t block_size_of(const Config& config, const NamespaceConfig& ns);
// After complete(): the stores of all namespaces that have their own, in order, then the named
// ones.
std::vector<storage::WantedStore> wanted_stores(const Config& config);

// The same for the same NQN.
std::string derive_serial(std::string_view nqn);

}  // namespace mrpool::nvmf_target
