// The methods of authentication keys: those of SPDK's keyring, and the keys of hosts.
#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "examples/nvmf/target/control.h"

namespace mrpool::nvmf_target {

namespace json = boost::json;
using control::Given;
using control::Parameter;
using control::required;
using control::Result;
using control::text;

namespace {

// Stands for a secret, which clients never see.
constexpr const char* kInside = "(a secret in the configuration)";

std::string shown(const std::string& key) {
  return nvme::auth::looks_like_key(key) ? kInside : key;
}

// Counts the hosts' uses of a key.
uint64_t uses_of(const Config& config, const std::string& name) {
  uint64_t uses = 0;
  for (const SubsystemConfig& subsystem : config.subsystems) {
    for (const auto& [host, proof] : subsystem.proofs) {
      uses += (proof.key == name ? 1 : 0) + (proof.ctrlr_key == name ? 1 : 0);
    }
  }
  return uses;
}

absl::Status add_key(const Given& given, Config& config) {
  const std::string name = given.text("name");
  if (std::ranges::find(config.keys, name, &NamedKey::name) != config.keys.end()) {
    return absl::AlreadyExistsError(absl::StrCat("there is a key \"", name, "\" already"));
  }
  config.keys.push_back({.name = name, .path = given.text("path")});
  return absl::OkStatus();
}

absl::Status remove_key(const Given& given, Config& config) {
  const std::string name = given.text("name");
  if (uses_of(config, name) > 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("key \"", name,
                     "\" is that of a host; give the host another one first, by "
                     "nvmf_subsystem_set_keys"));
  }
  if (std::erase_if(config.keys, [&](const NamedKey& each) { return each.name == name; }) > 0) {
    return absl::OkStatus();
  }
  return absl::NotFoundError(
      absl::StrCat("there is no key \"", name, "\"; keyring_get_keys lists them"));
}

absl::Status set_keys(const Given& given, Config& config) {
  const auto found = find_subsystem(config, given.text("nqn"));
  if (!found.ok()) return found.status();
  const std::string host = given.text("host");
  if (!(*found)->hosts || !(*found)->hosts->contains(host)) {
    return absl::NotFoundError(absl::StrCat(host, " is not in the list of hosts"));
  }
  (*found)->proofs.erase(host);
  return set_proof(given, **found);
}

Result list_keys(const Config& config) {
  json::array all;
  for (const NamedKey& key : config.keys) {
    all.push_back({{"name", key.name},
                   {"module", "keyring_file"},
                   {"removed", false},
                   {"probed", true},
                   {"refcnt", uses_of(config, key.name)},
                   {"path", key.path}});
  }
  return json::value(std::move(all));
}

}  // namespace

std::vector<Parameter> proof_parameters() {
  return {text("dhchap_key",
               "what the host must prove (DH-HMAC-CHAP): the name of a key, a path, "
               "or credential:NAME"),
          text("dhchap_ctrlr_key", "what the target proves if the host requests it, likewise")};
}

absl::Status set_proof(const Given& given, SubsystemConfig& subsystem) {
  HostProof proof{.key = given.text("dhchap_key"), .ctrlr_key = given.text("dhchap_ctrlr_key")};
  if (proof == HostProof()) return absl::OkStatus();
  for (const std::string* key : {&proof.key, &proof.ctrlr_key}) {
    if (!nvme::auth::looks_like_key(*key)) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        key == &proof.key ? "\"dhchap_key\"" : "\"dhchap_ctrlr_key\"",
        ": give the name of a key, not the secret itself; keyring_file_add_key names a file"));
  }
  subsystem.proofs[given.text("host")] = std::move(proof);
  return absl::OkStatus();
}

void add_key_names(const SubsystemConfig& subsystem, const std::string& host, json::object& to) {
  const auto at = subsystem.proofs.find(host);
  if (at == subsystem.proofs.end()) return;
  to["dhchap_key"] = shown(at->second.key);
  if (!at->second.ctrlr_key.empty()) to["dhchap_ctrlr_key"] = shown(at->second.ctrlr_key);
}

json::array key_calls(const Config& config) {
  json::array all;
  for (const NamedKey& key : config.keys) {
    all.push_back(
        {{"method", "keyring_file_add_key"}, {"params", {{"name", key.name}, {"path", key.path}}}});
  }
  return all;
}

void Control::add_key_methods() {
  add_change(
      "keyring_file_add_key", "name a file that has a secret, for nvmf_subsystem_add_host",
      {required(text("name", "for it")),
       required(text("path", "an absolute path, of mode 0600; or credential:NAME"))},
      [](const Given& given, Config& config, json::value&) { return add_key(given, config); });
  add_change(
      "keyring_file_remove_key", "forget a key that no host has",
      {required(text("name", "of the key"))},
      [](const Given& given, Config& config, json::value&) { return remove_key(given, config); });
  add_look("keyring_get_keys", "the keys, without their secrets", {},
           [this](const Given&) { return list_keys(config()); });
  std::vector<Parameter> parameters = proof_parameters();
  parameters.insert(parameters.begin(),
                    {nqn_parameter(), target_parameter(), required(text("host", "its NQN"))});
  add_change(
      "nvmf_subsystem_set_keys", "give a host other keys; they apply when it authenticates next",
      parameters,
      [](const Given& given, Config& config, json::value&) { return set_keys(given, config); });
}

}  // namespace mrpool::nvmf_target
