#include "examples/nvmf/target/host_keys.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "examples/base/json_lines.h"
#include "examples/base/json_object.h"
#include "examples/base/secret_file.h"
#include "examples/nvmf/target/config.h"

namespace mrpool::nvmf_target {
namespace {

using nvme::auth::DhchapKey;
using nvme::auth::Group;
using nvme::auth::Hash;

template <typename... Parts>
absl::Status bad(const Parts&... parts) {
  return absl::InvalidArgumentError(absl::StrCat(parts...));
}

bool is_place(std::string_view key) { return key.starts_with('/') || base::names_credential(key); }

const NamedKey* find_key(const Config& config, std::string_view name) {
  const auto at = std::ranges::find(config.keys, name, &NamedKey::name);
  return at == config.keys.end() ? nullptr : &*at;
}

template <typename T, size_t N>
std::string all_of(const std::array<T, N>& known) {
  std::string text;
  for (const T each : known) {
    absl::StrAppend(&text, text.empty() ? "" : ", ", std::string(to_string(each)));
  }
  return text;
}

template <typename T, size_t N>
void read_names(base::JsonObject& object, std::string_view key, const std::array<T, N>& known,
                std::optional<T> (*parse)(std::string_view), std::vector<T>& to) {
  std::vector<std::string> names;
  object.texts(key, names);
  if (object.has(key) && names.empty()) {
    return object.refuse(key, "is empty, so nothing could be used; leave it out");
  }
  for (const std::string& name : names) {
    const std::optional<T> value = parse(name);
    if (!value) {
      return object.refuse(key,
                           absl::StrCat("\"", name, "\" is not known; write of ", all_of(known)));
    }
    to.push_back(*value);
  }
}

// NotFound: a host has the name of an unknown key.
absl::Status check_name(const Config& config, const std::string& key) {
  if (key.empty() || is_place(key) || nvme::auth::looks_like_key(key)) return absl::OkStatus();
  if (find_key(config, key) != nullptr) return absl::OkStatus();
  return absl::NotFoundError(
      absl::StrCat("there is no key \"", key,
                   "\"; name one of \"keys\" (keyring_get_keys lists them), or write a path or "
                   "credential:NAME"));
}

absl::Status check_proof(const Config& config, const HostProof& proof) {
  if (proof.key.empty()) {
    return bad(
        "it has a \"dhchap_ctrlr_key\" without a \"dhchap_key\"; a target authenticates itself "
        "only to hosts that do");
  }
  absl::Status status = check_name(config, proof.key);
  status.Update(check_name(config, proof.ctrlr_key));
  return status;
}

absl::StatusOr<DhchapKey> read_key(const Config& config, const std::string& key,
                                   const base::ActingUser& reader) {
  if (nvme::auth::looks_like_key(key)) {
    auto parsed = nvme::auth::parse_key(key);
    if (!parsed.ok()) return bad("what it has ", parsed.status().message());
    return parsed;
  }
  const NamedKey* const named = find_key(config, key);
  const std::string& place = named == nullptr ? key : named->path;
  absl::StatusOr<std::string> line = base::read_secret(place, reader);
  if (!line.ok()) return line.status();
  auto parsed = nvme::auth::parse_key(*line);
  nvme::auth::wipe(*line);
  if (!parsed.ok()) return bad("what ", place, " has ", parsed.status().message());
  return parsed;
}

absl::StatusOr<std::shared_ptr<const nvme::auth::HostKeys>> read_keys(
    const Config& config, const HostProof& proof, const base::ActingUser& reader) {
  auto keys = std::make_shared<nvme::auth::HostKeys>();
  auto host = read_key(config, proof.key, reader);
  if (!host.ok()) return bad("dhchap_key: ", host.status().message());
  keys->host = *std::move(host);
  if (!proof.ctrlr_key.empty()) {
    auto controller = read_key(config, proof.ctrlr_key, reader);
    if (!controller.ok()) return bad("dhchap_ctrlr_key: ", controller.status().message());
    keys->controller = *std::move(controller);
  }
  if (!proof.digests.empty()) keys->hashes = proof.digests;
  if (!proof.dhgroups.empty()) keys->groups = proof.dhgroups;
  return std::shared_ptr<const nvme::auth::HostKeys>(std::move(keys));
}

}  // namespace

void read_named_keys(base::JsonObject& object, std::vector<NamedKey>& keys) {
  object.objects("keys", [&keys](base::JsonObject& each) {
    NamedKey& key = keys.emplace_back();
    key.line = each.line();
    each.text("name", key.name);
    each.text("path", key.path);
  });
}

HostProof read_proof(base::JsonObject& object) {
  HostProof proof;
  object.text("dhchap_key", proof.key);
  object.text("dhchap_ctrlr_key", proof.ctrlr_key);
  read_names(object, "dhchap_digests", nvme::auth::kHashes, nvme::auth::parse_hash, proof.digests);
  read_names(object, "dhchap_dhgroups", nvme::auth::kGroups, nvme::auth::parse_group,
             proof.dhgroups);
  for (const char* key : {"dhchap_digests", "dhchap_dhgroups"}) {
    if (object.has(key) && proof.key.empty()) {
      object.refuse(key, "has no effect without a \"dhchap_key\"; leave it out, or give a key");
    }
  }
  return proof;
}

absl::Status check_keys(const Config& config) {
  std::set<std::string> names;
  for (const NamedKey& key : config.keys) {
    const std::string where = absl::StrCat(base::at_line(key.line), "key \"", key.name, "\"");
    if (key.name.empty() || is_place(key.name) || nvme::auth::looks_like_key(key.name)) {
      return bad(where, ": is not a name; write one as host1");
    }
    if (!is_place(key.path)) {
      return bad(where, ": \"path\" must be an absolute path, or credential:NAME");
    }
    if (!names.insert(key.name).second) {
      return absl::AlreadyExistsError(absl::StrCat(where, " is given twice"));
    }
  }
  for (const SubsystemConfig& subsystem : config.subsystems) {
    for (const auto& [host, proof] : subsystem.proofs) {
      if (absl::Status status = check_proof(config, proof); !status.ok()) {
        return absl::Status(status.code(),
                            absl::StrCat(base::at_line(subsystem.line), subsystem.nqn, ", host ",
                                         host, ": ", status.message()));
      }
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<HostKeyMap> read_keys(const Config& config, const SubsystemConfig& subsystem,
                                     const base::ActingUser& reader) {
  HostKeyMap all;
  for (const auto& [host, proof] : subsystem.proofs) {
    auto keys = read_keys(config, proof, reader);
    if (!keys.ok()) {
      return bad(base::at_line(subsystem.line), subsystem.nqn, ", host ", host, ": ",
                 keys.status().message());
    }
    all.emplace(host, *std::move(keys));
  }
  return all;
}

absl::Status check_key_files(const Config& config, const base::ActingUser& reader) {
  for (const NamedKey& key : config.keys) {
    const auto read = read_key(config, key.name, reader);
    if (!read.ok()) {
      return bad(base::at_line(key.line), "key \"", key.name, "\": ", read.status().message());
    }
  }
  for (const SubsystemConfig& subsystem : config.subsystems) {
    if (const auto keys = read_keys(config, subsystem, reader); !keys.ok()) return keys.status();
  }
  return absl::OkStatus();
}

absl::Status check_exposure(const std::string& path, const Config& config,
                            const base::ActingUser& reader) {
  const auto inside = [](const HostProof& proof) {
    return nvme::auth::looks_like_key(proof.key) || nvme::auth::looks_like_key(proof.ctrlr_key);
  };
  for (const SubsystemConfig& subsystem : config.subsystems) {
    for (const auto& [host, proof] : subsystem.proofs) {
      if (inside(proof)) return base::check_secret_mode(path, reader);
    }
  }
  return absl::OkStatus();
}

}  // namespace mrpool::nvmf_target
