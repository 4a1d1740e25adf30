// examples/engine/options.cc has the keys of both daemons.
#include "examples/nvmf/target/config.h"

#include <algorithm>
#include <map>

#include "absl/strings/str_cat.h"
#include "examples/base/json_lines.h"
#include "examples/base/json_object.h"
#include "examples/base/json_text.h"
#include "examples/base/units.h"
#include "examples/engine/listen.h"
#include "examples/nvmf/target/limits.h"
#include "examples/protocol/nvme/wire.h"
#include "examples/storage/spec.h"

namespace mrpool::nvmf_target {
namespace {

template <typename... Parts>
absl::Status bad(const Parts&... parts) {
  return absl::InvalidArgumentError(absl::StrCat(parts...));
}

#define MRPOOL_RETURN_IF_ERROR(expression)                  \
  if (absl::Status status_ = (expression); !status_.ok()) { \
    return status_;                                         \
  }

absl::Status set_uuid(std::string_view text, Uuid& to) {
  const absl::StatusOr<Uuid> parsed = storage::parse_uuid(text);
  if (!parsed.ok()) return parsed.status();
  to = *parsed;
  return absl::OkStatus();
}

void read_namespace(base::JsonObject& object, SubsystemConfig& subsystem) {
  NamespaceConfig& ns = subsystem.namespaces.emplace_back();
  ns.line = object.line();
  std::string uuid;
  object.text("storage", ns.storage);
  object.text("store", ns.store);
  object.number("nsid", ns.nsid, {.least = 1, .most = kMaxNamespaces});
  object.number("block_size", ns.block_size);
  object.number("anagrpid", ns.ana_group, {.least = 1, .most = kMaxAnaGroups});
  object.text("uuid", uuid);
  std::vector<std::string> hosts;
  object.texts("hosts", hosts);
  if (object.has("hosts")) ns.hosts.emplace(hosts.begin(), hosts.end());
  if (!uuid.empty()) {
    if (absl::Status status = set_uuid(uuid, ns.uuid); !status.ok()) {
      return object.refuse("uuid", std::string(status.message()));
    }
  }
  engine::read_limits(object, ns.limits);
  if (ns.storage.empty()) {
    if (object.has("block_size") && !ns.store.empty()) {
      object.refuse("block_size", "it is that of the store; leave it out");
    }
    if (ns.limits.any() && !ns.store.empty()) {
      object.refuse("store", "its limits belong to the store; write them there, in \"stores\"");
    }
    return;  // complete() reports it
  }
  if (absl::Status status = take_own_options(ns); !status.ok()) {
    return object.refuse("storage", std::string(status.message()));
  }
  if (object.has("block_size") &&
      storage::block_size_of(ns.storage, ns.block_size) != ns.block_size) {
    object.refuse("block_size", absl::StrCat(ns.block_size, " contradicts ", ns.storage,
                                             "; leave one of them out"));
  }
}

// A host that may have to prove itself.
void read_host(base::JsonObject& object, SubsystemConfig& subsystem) {
  std::string nqn;
  object.text("nqn", nqn);
  HostProof proof = read_proof(object);
  if (!subsystem.hosts->insert(nqn).second) return object.refuse("nqn", "is given twice");
  if (proof != HostProof()) subsystem.proofs.emplace(nqn, std::move(proof));
}

void read_subsystem(base::JsonObject& object, Config& config) {
  SubsystemConfig subsystem;
  subsystem.line = object.line();
  object.text("nqn", subsystem.nqn);
  object.text("serial", subsystem.serial);
  object.text("model", subsystem.model);
  object.flag("allow_any_host", subsystem.allow_any_host);
  object.number("max_namespaces", subsystem.max_namespaces, {.least = 1, .most = kMaxNamespaces});
  object.texts("listeners", subsystem.listeners);
  object.flag("traffic_based_keep_alive", subsystem.traffic_keep_alive);
  read_ana(object, subsystem);
  // An empty list admits no host; a missing list admits every host.
  if (object.has("hosts")) subsystem.hosts.emplace();
  object.entries(
      "hosts", [&](std::string_view nqn, uint32_t) { subsystem.hosts->emplace(nqn); },
      [&](base::JsonObject& each) { read_host(each, subsystem); });
  engine::read_host_limits(object, "host_limits", "nqn", subsystem.host_limits);
  object.objects("namespaces", [&](base::JsonObject& each) { read_namespace(each, subsystem); });
  config.subsystems.push_back(std::move(subsystem));
}

void read_referral(base::JsonObject& object, Config& config) {
  std::string transport = "rdma", family, address, port, nqn;
  bool secure = false;
  object.text("trtype", transport);
  object.text("adrfam", family);
  object.text("traddr", address);
  object.text("trsvcid", port);
  object.text("subnqn", nqn);
  object.flag("secure_channel", secure);
  auto referral = make_referral(transport, family, address, port, nqn);
  if (!referral.ok()) {
    const std::string why(referral.status().message());
    const size_t colon = why.find(':');
    return object.refuse(why.substr(0, colon), why.substr(colon + 2));
  }
  referral->secure_channel = secure;
  referral->line = object.line();
  config.referrals.push_back(*std::move(referral));
}

absl::Status check_field(const char* name, const std::string& text, size_t most) {
  if (text.size() > most) {
    return bad(name, " \"", text, "\" has more than ", most, " characters");
  }
  if (!std::ranges::all_of(text, [](char c) { return c >= 0x20 && c < 0x7f; })) {
    return bad(name, " \"", text, "\" has characters that are not printable ASCII");
  }
  return absl::OkStatus();
}

absl::Status check_hosts(const HostSet& hosts) {
  for (const std::string& host : hosts) {
    if (!nvme::valid_nqn(host)) {
      return bad("host \"", host, "\" is not an NQN; write nqn.2026-11.org.example:host");
    }
  }
  return absl::OkStatus();
}

absl::Status check_names(SubsystemConfig& subsystem) {
  if (!nvme::valid_nqn(subsystem.nqn) || subsystem.nqn == nvme::kDiscoveryNqn) {
    return bad("\"", subsystem.nqn,
               "\" is not a subsystem NQN; write nqn.2024-01.org.example:disk1",
               subsystem.nqn.size() > nvme::kMaxNqnBytes
                   ? absl::StrCat(", ", nvme::kMaxNqnBytes, " bytes at most")
                   : "");
  }
  if (subsystem.serial.empty()) subsystem.serial = derive_serial(subsystem.nqn);
  MRPOOL_RETURN_IF_ERROR(check_field("serial", subsystem.serial, kSerialBytes));
  MRPOOL_RETURN_IF_ERROR(check_field("model", subsystem.model, kModelBytes));
  HostSet limited;
  for (const auto& [host, limits] : subsystem.host_limits) limited.insert(host);
  limited.erase(std::string(engine::kOtherHosts));
  MRPOOL_RETURN_IF_ERROR(check_hosts(limited));
  return subsystem.hosts ? check_hosts(*subsystem.hosts) : absl::OkStatus();
}

// Takes the specified nsids, then the lowest free ones.
absl::Status number_namespaces(SubsystemConfig& subsystem) {
  std::map<uint32_t, uint32_t> lines;  // by nsid
  for (NamespaceConfig& ns : subsystem.namespaces) {
    if (ns.nsid == 0) continue;
    ns.given = true;
    if (ns.nsid > kMaxNamespaces) {
      return bad(base::at_line(ns.line), subsystem.nqn, ": nsid ", ns.nsid, " is above ",
                 kMaxNamespaces);
    }
    const auto [first, fresh] = lines.emplace(ns.nsid, ns.line);
    if (!fresh) {
      return bad(base::at_line(ns.line), subsystem.nqn, ": nsid ", ns.nsid, " is given twice",
                 first->second == 0 ? "" : absl::StrCat(", first in line ", first->second));
    }
  }
  uint32_t next = 1;
  for (NamespaceConfig& ns : subsystem.namespaces) {
    if (ns.nsid != 0) continue;
    while (lines.contains(next)) ++next;
    if (next > kMaxNamespaces) {
      return bad(base::at_line(ns.line), subsystem.nqn, ": more than ", kMaxNamespaces,
                 " namespaces");
    }
    lines.emplace(ns.nsid = next, ns.line);
  }
  return absl::OkStatus();
}

// For messages.
constexpr std::string_view kOfPlace[] = {"nsid=N", "uuid=UUID", "anagrpid=N", "rw_ios_per_sec=N",
                                         "rw_mbytes_per_sec=N"};

absl::Status check_namespace(NamespaceConfig& ns, const Config& config) {
  if (ns.hosts) MRPOOL_RETURN_IF_ERROR(check_hosts(*ns.hosts));
  if (!ns.store.empty()) {
    if (!ns.storage.empty())
      return bad("it has a \"store\" and a \"storage\"; leave one of them out");
    if (engine::find_store(config.stores, ns.store) != nullptr) return absl::OkStatus();
    return absl::NotFoundError(absl::StrCat("there is no store \"", ns.store,
                                            "\"; \"stores\" of the configuration names them"));
  }
  if (ns.storage.empty()) {
    return bad("a namespace without \"storage\"; write ", storage::examples());
  }
  if (!storage::valid_block_size(ns.block_size)) {
    return bad("block_size ", ns.block_size, "; use ", storage::kBlockSizes[0], " or ",
               storage::kBlockSizes[1]);
  }
  ns.block_size = storage::block_size_of(ns.storage, ns.block_size);
  return storage::check(ns.storage,
                        {.block_size = ns.block_size, .replaces = {}, .of_place = kOfPlace});
}

absl::Status check_subsystem(SubsystemConfig& subsystem, const Config& config) {
  if (absl::Status status = check_names(subsystem); !status.ok()) {
    return bad(base::at_line(subsystem.line), status.message());
  }
  MRPOOL_RETURN_IF_ERROR(engine::complete_listen(subsystem.listeners, nvme::kDefaultPort));
  if (subsystem.namespaces.size() > subsystem.max_namespaces) {
    return absl::FailedPreconditionError(absl::StrCat(base::at_line(subsystem.line), subsystem.nqn,
                                                      ": more than max_namespaces, ",
                                                      subsystem.max_namespaces));
  }
  if (subsystem.namespaces.empty() && !config.may_be_empty) {
    return bad(base::at_line(subsystem.line), subsystem.nqn,
               ": no namespace; write \"namespaces\": "
               "[{\"storage\": \"ram:64MiB\"}], or --namespace ram:64MiB");
  }
  MRPOOL_RETURN_IF_ERROR(number_namespaces(subsystem));
  for (NamespaceConfig& ns : subsystem.namespaces) {
    if (absl::Status status = check_namespace(ns, config); !status.ok()) {
      return absl::Status(
          status.code(), absl::StrCat(base::at_line(ns.line), subsystem.nqn, " namespace ", ns.nsid,
                                      ": ", status.message()));
    }
  }
  return absl::OkStatus();
}

// A named store has one namespace.
absl::Status check_stores(const Config& config) {
  std::map<std::string, std::string> used;
  for (const SubsystemConfig& subsystem : config.subsystems) {
    for (const NamespaceConfig& ns : subsystem.namespaces) {
      if (ns.store.empty()) continue;
      const std::string place = absl::StrCat(subsystem.nqn, " namespace ", ns.nsid);
      const auto [first, fresh] = used.emplace(ns.store, place);
      if (fresh) continue;
      return absl::FailedPreconditionError(absl::StrCat(base::at_line(ns.line), place, ": store ",
                                                        ns.store, " is ", first->second,
                                                        " already; remove it there first"));
    }
  }
  return absl::OkStatus();
}

// A UUID must identify one namespace globally.
absl::Status check_uuids(const Config& config) {
  std::map<Uuid, std::string> given;
  for (const SubsystemConfig& subsystem : config.subsystems) {
    for (const NamespaceConfig& ns : subsystem.namespaces) {
      if (ns.uuid == Uuid{}) continue;
      const std::string place =
          absl::StrCat(base::at_line(ns.line), subsystem.nqn, " namespace ", ns.nsid);
      const auto [first, fresh] = given.emplace(ns.uuid, place);
      if (!fresh) {
        return bad(place, ": uuid ", storage::format_uuid(ns.uuid), " is that of ", first->second,
                   " too; give each its own");
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status check_in_capsule(uint32_t bytes) {
  constexpr uint32_t kUnit = 16;  // of Identify IOCCSZ
  if (bytes % kUnit == 0) return absl::OkStatus();
  return bad(bytes, " is not a multiple of ", kUnit, "; write ", bytes / kUnit * kUnit, " or ",
             (bytes / kUnit + 1) * kUnit);
}

absl::StatusOr<Config> parse_config(std::string_view text, bool may_be_empty) {
  const auto root = base::parse_json_text(text);
  if (!root.ok()) return root.status();
  if (!root->value.is_object()) return bad("the file must hold one JSON object");
  Config config;
  base::JsonObject object(*root);
  engine::read_listen(object, config.listen);
  object.size("in_capsule", config.in_capsule, {.most = kMaxInCapsule});
  if (absl::Status status = check_in_capsule(config.in_capsule); !status.ok()) {
    object.refuse("in_capsule", std::string(status.message()));
  }
  engine::read_options(object, config.engine);
  engine::read_stores(object, config.stores);
  read_named_keys(object, config.keys);
  read_discovery_proof(object, config.discovery_proof);
  object.objects("referrals", [&](base::JsonObject& each) { read_referral(each, config); });
  object.objects("subsystems", [&](base::JsonObject& each) { read_subsystem(each, config); });
  MRPOOL_RETURN_IF_ERROR(object.finish());
  config.may_be_empty = may_be_empty || !config.engine.control.empty();
  MRPOOL_RETURN_IF_ERROR(complete(config));
  return config;
}

absl::Status complete(Config& config) {
  if (ports_of(config).empty() && !config.may_be_empty) {
    return bad("nothing to listen on; write \"listen\": [\"uiwarp://127.0.0.1:4420\"]");
  }
  MRPOOL_RETURN_IF_ERROR(engine::complete_listen(config.listen, nvme::kDefaultPort));
  MRPOOL_RETURN_IF_ERROR(engine::complete_stores(config.stores, storage::kDefaultBlockSize));
  MRPOOL_RETURN_IF_ERROR(check_referrals(config.referrals));
  if (config.subsystems.empty() && !config.may_be_empty) {
    return bad(
        "there is no subsystem to serve; write \"subsystems\": [{\"nqn\": "
        "\"nqn.2024-01.org.example:disk1\", \"namespaces\": [{\"storage\": \"ram:64MiB\"}]}]");
  }
  std::set<std::string> nqns;
  for (SubsystemConfig& subsystem : config.subsystems) {
    MRPOOL_RETURN_IF_ERROR(check_subsystem(subsystem, config));
    if (!nqns.insert(subsystem.nqn).second) {
      return bad(base::at_line(subsystem.line), "subsystem \"", subsystem.nqn, "\" is given twice");
    }
  }
  for (SubsystemConfig& subsystem : config.subsystems) {
    MRPOOL_RETURN_IF_ERROR(check_ana(subsystem, config));
  }
  MRPOOL_RETURN_IF_ERROR(check_stores(config));
  MRPOOL_RETURN_IF_ERROR(check_gateway(config));
  MRPOOL_RETURN_IF_ERROR(check_keys(config));
  MRPOOL_RETURN_IF_ERROR(check_discovery_proof(config));
  return check_uuids(config);
}

std::vector<std::string> ports_of(const Config& config) {
  std::vector<std::string> all = config.listen;
  for (const SubsystemConfig& subsystem : config.subsystems) {
    for (const std::string& listener : subsystem.listeners) {
      if (std::ranges::find(all, listener) == all.end()) all.push_back(listener);
    }
  }
  return all;
}

std::string storage_of(const Config& config, const NamespaceConfig& ns) {
  const engine::NamedStore* store = engine::find_store(config.stores, ns.store);
  return store == nullptr ? ns.storage : store->storage;
}

uint32_t block_size_of(const Config& config, const NamespaceConfig& ns) {
  const engine::NamedStore* store = engine::find_store(config.stores, ns.store);
  return store == nullptr ? ns.block_size : store->block_size;
}

const engine::RateLimits& limits_of(const Config& config, const NamespaceConfig& ns) {
  const engine::NamedStore* store = engine::find_store(config.stores, ns.store);
  return store == nullptr ? ns.limits : store->limits;
}

std::string place_of(uint32_t nsid) { return absl::StrCat("namespace ", nsid); }

std::vector<storage::WantedStore> wanted_stores(const Config& config) {
  std::vector<storage::WantedStore> wanted;
  for (const SubsystemConfig& subsystem : config.subsystems) {
    for (const NamespaceConfig& ns : subsystem.namespaces) {
      if (!ns.store.empty()) continue;
      wanted.push_back({.spec = address_of(config, ns),
                        .block_size = ns.block_size,
                        .parent = subsystem.nqn,
                        .place = place_of(ns.nsid),
                        .given = ns.given,
                        .named = ns.uuid != Uuid{},
                        .origin = base::at_line(ns.line)});
    }
  }
  for (const engine::NamedStore& store : config.stores) {
    wanted.push_back(engine::wanted_store(store));
    for (const SubsystemConfig& subsystem : config.subsystems) {
      const auto user =
          std::ranges::find(subsystem.namespaces, store.name, &NamespaceConfig::store);
      if (user != subsystem.namespaces.end()) wanted.back().spec = address_of(config, *user);
    }
  }
  return wanted;
}

absl::Status take_own_options(NamespaceConfig& ns) {
  std::vector<std::string_view> names = {"nsid", "uuid", "anagrpid"};
  std::ranges::copy(engine::limit_names(), std::back_inserter(names));
  auto options = storage::take_options(ns.storage, names);
  if (!options.ok()) return options.status();
  MRPOOL_RETURN_IF_ERROR(engine::take_limits(*options, ns.limits));
  for (const storage::StoreSpec::Option& option : *options) {
    if (option.name == "anagrpid") {
      if (ns.ana_group != 0) {
        return bad("\"anagrpid\" is given here and as a key; leave one of them out");
      }
      const auto number = base::parse_count(option.value, {.least = 1, .most = kMaxAnaGroups});
      if (!number.ok()) return bad("anagrpid: ", number.status().message());
      ns.ana_group = uint32_t(*number);
      continue;
    }
    if (option.name == "nsid") {
      if (ns.nsid != 0) return bad("\"nsid\" is given here and as a key; leave one of them out");
      const auto number = base::parse_count(option.value, {.least = 1, .most = kMaxNamespaces});
      if (!number.ok()) return bad("nsid: ", number.status().message());
      ns.nsid = uint32_t(*number);
      continue;
    }
    if (ns.uuid != Uuid{}) return bad("\"uuid\" is given here and as a key; leave one of them out");
    MRPOOL_RETURN_IF_ERROR(set_uuid(option.value, ns.uuid));
  }
  return absl::OkStatus();
}

std::string derive_serial(std::string_view nqn) {
  return storage::format_uuid(storage::derive_uuid(nqn)).substr(0, 8) +
         storage::format_uuid(storage::derive_uuid(nqn)).substr(24, 8);
}

}  // namespace mrpool::nvmf_target
