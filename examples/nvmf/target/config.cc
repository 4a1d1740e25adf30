#include "examples/nvmf/target/config.h"

#include <algorithm>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "examples/base/json_object.h"
#include "examples/base/json_text.h"
#include "examples/nvmf/target/limits.h"
#include "examples/protocol/nvme/wire.h"
#include "mrpool/device.h"

namespace mrpool::nvmf_target {
namespace {

template <typename... Parts>
absl::Status bad(const Parts&... parts) {
  return absl::InvalidArgumentError(absl::StrCat(parts...));
}

absl::string_view view(std::string_view text) { return {text.data(), text.size()}; }

uint64_t fnv1a(std::string_view text, uint64_t hash) {
  for (const char c : text) hash = (hash ^ uint8_t(c)) * 0x100000001b3;
  // Spread the last bytes over the whole number.
  hash ^= hash >> 33;
  hash *= 0xff51afd7ed558ccd;
  return hash ^ hash >> 33;
}

#define MRPOOL_RETURN_IF_ERROR(expression)                  \
  if (absl::Status status_ = (expression); !status_.ok()) { \
    return status_;                                         \
  }

void read_namespace(daemon::JsonObject& object, SubsystemConfig& subsystem) {
  NamespaceConfig ns;
  std::string uuid;
  object.text("storage", ns.storage);
  object.number("nsid", ns.nsid);
  object.number("block_size", ns.block_size);
  object.text("uuid", uuid);
  if (!uuid.empty()) {
    const auto parsed = parse_uuid(uuid);
    if (!parsed.ok()) return object.refuse("uuid", std::string(parsed.status().message()));
    ns.uuid = *parsed;
  }
  subsystem.namespaces.push_back(std::move(ns));
}

void read_subsystem(daemon::JsonObject& object, Config& config) {
  SubsystemConfig subsystem;
  std::vector<std::string> hosts;
  object.text("nqn", subsystem.nqn);
  object.text("serial", subsystem.serial);
  object.flag("traffic_based_keep_alive", subsystem.traffic_keep_alive);
  object.texts("hosts", hosts);
  object.objects("namespaces", [&](daemon::JsonObject& each) { read_namespace(each, subsystem); });
  // An empty list admits nobody; only its absence admits everybody.
  if (object.has("hosts")) subsystem.hosts.emplace(hosts.begin(), hosts.end());
  config.subsystems.push_back(std::move(subsystem));
}

absl::Status check_subsystem(SubsystemConfig& subsystem) {
  if (!nvme::valid_nqn(subsystem.nqn) || subsystem.nqn == nvme::kDiscoveryNqn) {
    return bad("\"", subsystem.nqn, "\" is no subsystem NQN; write nqn.2024-01.org.example:disk1");
  }
  if (subsystem.serial.empty()) subsystem.serial = derive_serial(subsystem.nqn);
  if (subsystem.serial.size() > kSerialBytes) {
    return bad("serial \"", subsystem.serial, "\" has more than ", kSerialBytes, " characters");
  }
  if (subsystem.hosts.has_value()) {
    for (const std::string& host : *subsystem.hosts) {
      if (!nvme::valid_nqn(host))
        return bad("host \"", host, "\" is no NQN; write nqn.2026-11.org.example:host");
    }
  }
  std::set<uint32_t> used;
  for (const NamespaceConfig& ns : subsystem.namespaces) {
    if (ns.nsid > kMaxNamespaces) {
      return bad(subsystem.nqn, ": nsid ", ns.nsid, " is above ", kMaxNamespaces);
    }
    if (ns.nsid != 0 && !used.insert(ns.nsid).second) {
      return bad(subsystem.nqn, ": nsid ", ns.nsid, " is given twice");
    }
  }
  uint32_t next = 1;
  for (NamespaceConfig& ns : subsystem.namespaces) {
    if (ns.storage.empty()) {
      return bad(subsystem.nqn, ": a namespace without \"storage\"; write ", storage::examples());
    }
    if (!storage::valid_block_size(ns.block_size)) {
      return bad(subsystem.nqn, ": block_size ", ns.block_size, "; use ", storage::kBlockSizes[0],
                 " or ", storage::kBlockSizes[1]);
    }
    ns.block_size = storage::block_size_of(ns.storage, ns.block_size);
    if (ns.nsid == 0) {
      while (used.contains(next)) ++next;
      if (next > kMaxNamespaces)
        return bad(subsystem.nqn, ": more than ", kMaxNamespaces, " namespaces");
      used.insert(ns.nsid = next);
    }
    if (ns.uuid == Uuid{}) {
      ns.uuid = derive_uuid(absl::StrCat(subsystem.nqn, "/", ns.nsid, "/", ns.storage));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Config> parse_config(std::string_view text) {
  const auto root = daemon::parse_json_text(text);
  if (!root.ok()) return root.status();
  if (!root->is_object()) return bad("the file must hold one JSON object");
  Config config;
  daemon::JsonObject object(root->as_object());
  object.texts("listen", config.listen);
  engine::read_options(object, config.engine);
  object.objects("subsystems", [&](daemon::JsonObject& each) { read_subsystem(each, config); });
  MRPOOL_RETURN_IF_ERROR(object.finish());
  MRPOOL_RETURN_IF_ERROR(complete(config));
  return config;
}

absl::Status complete(Config& config) {
  if (config.listen.empty()) {
    return bad("nothing to listen on; write \"listen\": [\"uiwarp://127.0.0.1:4420\"]");
  }
  std::set<std::string> listen;
  for (const std::string& address : config.listen) {
    const auto parsed = Address::parse(address);
    if (!parsed.ok()) return parsed.status();
    if (!listen.insert(address).second) return bad("\"", address, "\" is listened on twice");
  }
  if (config.subsystems.empty()) return bad("there is no subsystem to serve");
  std::set<std::string> nqns;
  for (SubsystemConfig& subsystem : config.subsystems) {
    MRPOOL_RETURN_IF_ERROR(check_subsystem(subsystem));
    if (!nqns.insert(subsystem.nqn).second) {
      return bad("subsystem \"", subsystem.nqn, "\" is given twice");
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<Uuid> parse_uuid(std::string_view text) {
  Uuid uuid{};
  size_t digits = 0;
  bool good = text.size() == 36;
  for (size_t i = 0; good && i < text.size(); ++i) {
    const char c = text[i];
    if (i == 8 || i == 13 || i == 18 || i == 23) {
      good = c == '-';
      continue;
    }
    const int digit = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                             : -1;
    good = digit >= 0;
    if (good) uuid[digits / 2] = uint8_t(uuid[digits / 2] << 4 | digit);
    ++digits;
  }
  if (!good || uuid == Uuid{}) {
    return bad("\"", view(text), "\" is no UUID; write 0a1b2c3d-0000-4000-8000-000000000001");
  }
  return uuid;
}

Uuid derive_uuid(std::string_view name) {
  Uuid uuid;
  for (size_t half = 0; half < 2; ++half) {
    const uint64_t hash = fnv1a(name, 0xcbf29ce484222325 + half);
    for (size_t i = 0; i < 8; ++i) uuid[half * 8 + i] = uint8_t(hash >> (8 * i));
  }
  uuid[6] = uint8_t((uuid[6] & 0x0f) | 0x80);  // version 8, RFC 9562
  uuid[8] = uint8_t((uuid[8] & 0x3f) | 0x80);
  return uuid;
}

std::string derive_serial(std::string_view nqn) {
  char serial[21];
  std::snprintf(serial, sizeof serial, "%016llx",
                static_cast<unsigned long long>(fnv1a(nqn, 0xcbf29ce484222325)));
  return serial;
}

}  // namespace mrpool::nvmf_target
