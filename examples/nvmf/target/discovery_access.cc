#include "examples/nvmf/target/discovery_access.h"

#include <algorithm>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "examples/base/json_object.h"
#include "examples/nvmf/target/config.h"

namespace mrpool::nvmf_target {

using nvme::auth::HostKeys;

namespace {

template <typename T>
void keep_common(std::vector<T>& those, const std::vector<T>& of) {
  std::erase_if(those, [&of](T each) { return std::ranges::find(of, each) == of.end(); });
}

// The host may prove itself by the keys of `more` too.
void add(const HostKeys& more, HostKeys& to) {
  keep_common(to.hashes, more.hashes);
  keep_common(to.groups, more.groups);
  const nvme::auth::KeyPair pair{.host = more.host, .controller = more.controller};
  const bool first = pair == nvme::auth::KeyPair{.host = to.host, .controller = to.controller};
  if (!first && std::ranges::find(to.others, pair) == to.others.end()) to.others.push_back(pair);
}

}  // namespace

const std::vector<std::pair<std::string, DiscoveryProof>>& discovery_proofs() {
  static const std::vector<std::pair<std::string, DiscoveryProof>> kAll = {
      {"off", DiscoveryProof::kOff},
      {"keys", DiscoveryProof::kKeys},
      {"required", DiscoveryProof::kRequired}};
  return kAll;
}

std::string to_string(DiscoveryProof proof) { return discovery_proofs()[size_t(proof)].first; }

void read_discovery_proof(base::JsonObject& object, DiscoveryProof& to) {
  constexpr std::string_view kKey = "discovery_authentication";
  std::string text;
  object.text(kKey, text);
  if (!object.has(kKey)) return;
  for (const auto& [name, proof] : discovery_proofs()) {
    if (name != text) continue;
    to = proof;
    return;
  }
  object.refuse(kKey, absl::StrCat("\"", text, "\" is none of off, keys, required"));
}

absl::Status check_discovery_proof(const Config& config) {
  const auto has_keys = [](const SubsystemConfig& each) { return !each.proofs.empty(); };
  if (config.discovery_proof != DiscoveryProof::kRequired || config.may_be_empty ||
      std::ranges::any_of(config.subsystems, has_keys)) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      "discovery_authentication is \"required\" and no host has a key, so no host could discover; "
      "give a host of a subsystem a \"dhchap_key\"");
}

DiscoveryAccess discovery_access(DiscoveryProof proof, std::span<const HostKeyMap> maps) {
  DiscoveryAccess access{.any_host = proof != DiscoveryProof::kRequired};
  if (proof == DiscoveryProof::kOff) return access;
  std::map<std::string, std::shared_ptr<HostKeys>> all;
  for (const HostKeyMap& map : maps) {
    for (const auto& [host, keys] : map) {
      std::shared_ptr<HostKeys>& merged = all[host];
      if (merged == nullptr) {
        merged = std::make_shared<HostKeys>(*keys);
      } else {
        add(*keys, *merged);
      }
    }
  }
  for (auto& [host, keys] : all) {
    access.hosts.insert(host);
    access.keys.emplace(host, std::move(keys));
  }
  return access;
}

}  // namespace mrpool::nvmf_target
