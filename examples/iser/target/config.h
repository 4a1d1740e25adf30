// The daemon's configuration: from options, or from a JSON file with several targets.
//
//   {"listen": ["uiwarp://0.0.0.0:3260"],
//    "state_dir": "/var/lib/mrpool", "control": "/run/iser.sock",
//    "threads": 2, "staging": "32MiB", "mrs": 1024, "max_connections": 2048, "stall_timeout": 15,
//    "storage_timeout": 10, "stop_timeout": 20,
//    "force_mr": false, "relaxed_ordering": true, "retry_listen": false, "spin": "50us",
//    "block_size": 512, "initial_r2t": true, "immediate_data": true,
//    "verbose": false,
//    "discovery_chap": "user:secret", "discovery_mutual_chap": "user:secret",
//    "open_discovery": false,
//    "stores": [{"name": "Malloc0", "storage": "ram:64MiB"}],
//    "targets": [{"name": "iqn.2026-11.org.example:disk",
//                 "alias": "disk", "relative_port": 1,
//                 "luns": ["ram:64MiB", "file:/srv/disk.img,direct,lun=7",
//                          {"storage": "file:/srv/a.img", "lun": 1, "block_size": 4096,
//                           "serial": "0001", "naa": "3000000000000001",
//                           "uuid": "0a1b2c3d-0000-4000-8000-000000000001",
//                           "alua_group": 1, "alua_state": "optimized",
//                           "alua_access_type": "both"},
//                          {"store": "Malloc0", "lun": 2}],
//                 "chap": "user:secret", "mutual_chap": "user:secret",
//                 "initiators": ["iqn.2026-11.org.example:host",
//                                {"name": "iqn.2026-11.org.example:other",
//                                 "chap": "user:secret", "mutual_chap": "user:secret"}],
//                 "initiator_limits": [{"name": "*", "rw_ios_per_sec": 1000}]}]}
//
// Access control fails closed. Without "initiators", every initiator that proves "chap" may log in;
// an empty list admits nobody; an empty secret is an error. An account belongs to one initiator
// name, so that a listed initiator cannot log in as another. A secret has one purpose in the whole
// file (RFC 7143 §9.2.1); examples/iser/target/secrets.h checks this.
//
// engine::read_options in examples/engine/options.cc reads the keys of both daemons (threads,
// staging, ...).
//
// A missing LUN number becomes the lowest free one. lun, serial, naa, uuid and limits
// (engine/rate_limits.h) may also be options of the storage: "file:/srv/disk.img,lun=7". "store"
// names one of "stores", which has at most one LUN (engine/named_stores.h).
//
// Instead of "chap", "mutual_chap" and the keys for discovery, "chap_file" and so on name a file
// with the account, or "credential:NAME"; secret_files.h reads them.
//
// Thread safety: values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "examples/engine/host_limits.h"
#include "examples/engine/named_stores.h"
#include "examples/engine/options.h"
#include "examples/engine/rate_limits.h"
#include "examples/protocol/iscsi/login.h"
#include "examples/protocol/scsi/access.h"
#include "examples/storage/stores.h"
#include "examples/storage/uuid.h"

namespace mrpool::iser_target {

// The files of accounts that are not in the configuration itself (secret_files.h); empty: none.
struct AccountFiles {
  std::string incoming{};
  std::string outgoing{};
};

// An initiator that may log in.
struct InitiatorConfig {
  std::string name{};
  iscsi::Authentication authentication{};  // missing parts: the target's
  AccountFiles files{};
};

// The names of a unit. Missing ones are derived from the others, or from the store.
struct UnitNames {
  std::string serial{};
  std::vector<uint8_t> naa{};  // empty: none
  storage::Uuid uuid{};        // all zeroes: none
  bool operator==(const UnitNames&) const = default;
};

struct LunConfig {
  LunConfig() = default;
  LunConfig(std::string spec) : storage(std::move(spec)) {}  // NOLINT: a storage is a LUN
  LunConfig(const char* spec) : storage(spec) {}             // NOLINT

  std::string storage{};
  std::string store{};            // instead: the name of one of Config::stores
  std::optional<uint16_t> lun{};  // absent: the lowest free one
  uint32_t block_size = 0;        // of the storage; 0: the daemon's default
  UnitNames names{};
  engine::RateLimits limits{};     // of `storage`
  uint16_t alua_group = 1;         // its target port group
  scsi::AccessState alua_state{};  // at first
  bool explicit_alua = true;       // initiators may set it too
  uint32_t line = 0;               // of the file; 0: there is none
};
// Moves the options that concern the LUN out of `storage`; the rest stays for the storage.
absl::Status take_own_options(LunConfig& lun);
// "file:/srv/disk.img", or the name of its store.
const std::string& text_of(const LunConfig& lun);

struct TargetConfig {
  std::string name{};
  std::string alias{};
  uint16_t relative_port = 1;  // the identifier of its target port
  std::vector<LunConfig> luns{};
  iscsi::Authentication authentication{};
  AccountFiles files{};
  std::optional<std::vector<InitiatorConfig>> initiators{};  // absent: all; empty: none
  engine::HostLimitMap initiator_limits{};
  uint32_t line = 0;  // of the file; 0: there is none

  // The secret that `initiator` must prove, and the one that it may request; nothing if it may not
  // log in.
  std::optional<iscsi::Authentication> account(std::string_view initiator) const;
};

struct Config {
  std::vector<std::string> listen{};
  std::vector<engine::NamedStore> stores{};
  std::vector<TargetConfig> targets{};
  iscsi::Authentication discovery{};
  AccountFiles discovery_files{};
  bool open_discovery = false;  // discovery requires no secret even if a target does
  uint32_t block_size = 512;
  bool initial_r2t = true;
  bool immediate_data = true;
  engine::Options engine{};
};

// InvalidArgument names the wrong key or value and the fix.
absl::StatusOr<Config> parse_json(std::string_view text);
// Checks a configuration from options or from a file: names are iSCSI names, and target names are
// unique. Mutual CHAP requires one-way CHAP, and each secret has one purpose. At least one target,
// LUN and portal is required. Adds the default port to addresses without one.
absl::Status complete(Config& config);
// The same for a running daemon, which may have no target.
absl::Status complete_live(Config& config);
// "LUN 3".
std::string place_of(uint16_t lun);
// After complete(): the stores of all LUNs that have their own, in order, then the named stores.
std::vector<storage::WantedStore> wanted_stores(const Config& config);
// The storage that the LUN serves: its own, or that of its store.
const std::string& storage_of(const Config& config, const LunConfig& lun);
// The configured names of the unit of a LUN; the UUID may be that of its store.
UnitNames given_names(const Config& config, const LunConfig& lun);
// The numbers of a target's LUNs, in order: the specified ones, and the lowest free ones for the
// others.
std::vector<uint16_t> lun_numbers(const TargetConfig& target);
// The block size with which the storage of a LUN is opened.
uint32_t block_size_of(const Config& config, const LunConfig& lun);
// The limits of its store.
const engine::RateLimits& limits_of(const Config& config, const LunConfig& lun);
// The keys that differ and that a running daemon cannot change.
std::vector<std::string> unchangeable(const Config& running, const Config& wanted);

}  // namespace mrpool::iser_target
