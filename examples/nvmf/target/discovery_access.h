// Which hosts may discover, and what they must prove before (DH-HMAC-CHAP).
//
// A host has its keys at subsystems, and may have different ones there. Discovery is of the whole
// target: any of these keys proves the host, with the hashes and groups that all of them allow.
//
// Thread safety: pure. Ownership: values; keys are shared.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "examples/nvmf/target/subsystem.h"

namespace mrpool::base {
class JsonObject;
}  // namespace mrpool::base

namespace mrpool::nvmf_target {

struct Config;

enum class DiscoveryProof : uint8_t {
  kOff,       // nobody authenticates
  kKeys,      // hosts with a key do; the others need not
  kRequired,  // hosts with a key do; the others are refused
};
// The words of the configuration.
const std::vector<std::pair<std::string, DiscoveryProof>>& discovery_proofs();
std::string to_string(DiscoveryProof proof);

// Reads the key "discovery_authentication".
void read_discovery_proof(base::JsonObject& object, DiscoveryProof& to);
// InvalidArgument: no host could discover, and none can get a key later.
absl::Status check_discovery_proof(const Config& config);

struct DiscoveryAccess {
  bool any_host = true;
  HostSet hosts{};  // if not any host
  HostKeyMap keys{};
};
// `maps`: the keys of each subsystem.
DiscoveryAccess discovery_access(DiscoveryProof proof, std::span<const HostKeyMap> maps);

}  // namespace mrpool::nvmf_target
