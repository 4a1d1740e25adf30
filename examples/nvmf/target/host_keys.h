// The keys with which hosts authenticate (DH-HMAC-CHAP), as a configuration has them:
//
//   "keys": [{"name": "host1", "path": "/etc/mrpool/host1.key"}],
//   "subsystems": [{"hosts": [
//     "nqn.2024-01.example:a",                                   does not authenticate
//     {"nqn": "nqn.2024-01.example:b", "dhchap_key": "host1",    one of "keys",
//      "dhchap_ctrlr_key": "credential:disk1",                   a credential, a path
//      "dhchap_digests": ["sha512"], "dhchap_dhgroups": ["ffdhe3072"]}]}]
//
// A file has one line, "DHHC-1:...". Only its owner and root may read or write it. A configuration
// file that other users cannot read may contain the secret itself, as files of nvmetcli do.
//
// Thread safety: pure, but for the files. Ownership: values.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "examples/base/acting_user.h"
#include "examples/nvmf/target/subsystem.h"
#include "examples/protocol/nvme/auth/controller_side.h"

namespace mrpool::base {
class JsonObject;
}  // namespace mrpool::base

namespace mrpool::nvmf_target {

struct Config;
struct SubsystemConfig;

// A named key, as SPDK's keyring_file_add_key creates it.
struct NamedKey {
  std::string name;
  std::string path;   // or "credential:NAME"
  uint32_t line = 0;  // of the file; 0: there is none
};

// The authentication of one host.
struct HostProof {
  std::string key;        // the name of a key, a path, "credential:NAME" or the secret
  std::string ctrlr_key;  // of the target, if the host asks for it; empty: none
  std::vector<nvme::auth::Hash> digests{};    // those that may be used, the first goes first;
  std::vector<nvme::auth::Group> dhgroups{};  // empty: all
  bool operator==(const HostProof&) const = default;
};
using HostProofs = std::map<std::string, HostProof, std::less<>>;  // by NQN

// Reads the key "keys".
void read_named_keys(base::JsonObject& object, std::vector<NamedKey>& keys);
// Reads the authentication of an entry of "hosts". Empty: the host does not authenticate.
HostProof read_proof(base::JsonObject& object);
// Refuses key names that are invalid or given twice, hosts with an unknown key, and hosts with a
// ctrlr_key only.
absl::Status check_keys(const Config& config);

// Reads the files of all keys, also of keys without a host. InvalidArgument names the host or the
// key, and the file.
// `reader` must be able to read them.
absl::Status check_key_files(const Config& config, const base::ActingUser& reader);
absl::StatusOr<HostKeyMap> read_keys(const Config& config, const SubsystemConfig& subsystem,
                                     const base::ActingUser& reader);

// InvalidArgument: `config`, which the file `path` contains, has secrets, and users other than
// `reader` and root can read the file.
absl::Status check_exposure(const std::string& path, const Config& config,
                            const base::ActingUser& reader);

}  // namespace mrpool::nvmf_target
