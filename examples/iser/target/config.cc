// examples/engine/options.cc has the keys of both daemons.
#include "examples/iser/target/config.h"

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <system_error>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "examples/base/json_lines.h"
#include "examples/base/json_object.h"
#include "examples/base/json_text.h"
#include "examples/base/units.h"
#include "examples/engine/listen.h"
#include "examples/iser/target/limits.h"
#include "examples/iser/target/secrets.h"
#include "examples/protocol/iscsi/chap.h"
#include "examples/protocol/iscsi/discovery.h"
#include "examples/protocol/iscsi/text.h"
#include "examples/protocol/scsi/unit.h"
#include "examples/storage/spec.h"
#include "examples/storage/storage.h"

namespace mrpool::iser_target {
namespace {

absl::Status wrong(std::string_view where, std::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(std::string(where), ": ", std::string(what)));
}

using base::JsonObject;

// Reads an account. An empty string is an error; it does not disable authentication.
void read_secret(JsonObject& object, std::string_view key, std::optional<iscsi::Credentials>& to) {
  std::string written;
  object.text(key, written);
  if (!object.has(key)) return;
  iscsi::Credentials credentials;
  if (const absl::Status status = iscsi::parse_credentials(written, credentials); !status.ok()) {
    return object.refuse(key, std::string(status.message()));
  }
  to = std::move(credentials);
}

void read_secret_file(JsonObject& object, std::string_view key, std::string_view instead_of,
                      std::string& to) {
  object.text(key, to);
  if (!object.has(key)) return;
  if (object.has(instead_of)) {
    return object.refuse(key, absl::StrCat("is given together with \"", std::string(instead_of),
                                           "\"; leave one of them out"));
  }
  if (to.empty()) object.refuse(key, "is empty; write a path, or credential:NAME");
}

void read_accounts(JsonObject& object, iscsi::Authentication& to, AccountFiles& files) {
  read_secret(object, "chap", to.incoming);
  read_secret(object, "mutual_chap", to.outgoing);
  read_secret_file(object, "chap_file", "chap", files.incoming);
  read_secret_file(object, "mutual_chap_file", "mutual_chap", files.outgoing);
}

// Reads a list of names, or of objects for initiators with their own accounts.
void read_initiators(JsonObject& object, TargetConfig& target) {
  if (object.has("initiators")) target.initiators.emplace();
  const auto add = [&](std::string name) -> InitiatorConfig& {
    return target.initiators->emplace_back(
        InitiatorConfig{.name = iscsi::normal_iscsi_name(name), .authentication = {}, .files = {}});
  };
  object.entries(
      "initiators", [&](std::string_view name, uint32_t) { add(std::string(name)); },
      [&](JsonObject& each) {
        std::string name;
        each.text("name", name);
        InitiatorConfig& initiator = add(std::move(name));
        read_accounts(each, initiator.authentication, initiator.files);
      });
}

absl::Status set_serial(std::string_view text, std::string& to) {
  const auto printable = [](char c) { return c > 0x20 && c < 0x7f; };
  if (text.size() > scsi::kMaxSerial || !std::ranges::all_of(text, printable)) {
    return absl::InvalidArgumentError(absl::StrCat("serial \"", std::string(text),
                                                   "\" is not made of 1 to ", scsi::kMaxSerial,
                                                   " printable ASCII characters without spaces"));
  }
  to = text;
  return absl::OkStatus();
}

// SPC-4 §7.8.6.6: NAA 2, 3 and 5 have 8 bytes, NAA 6 has 16.
absl::Status set_naa(std::string_view text, std::vector<uint8_t>& to) {
  const bool hex = std::ranges::all_of(text, [](char c) { return absl::ascii_isxdigit(c); });
  const char kind = text.empty() ? '\0' : text[0];
  const bool fits = (text.size() == 16 && (kind == '2' || kind == '3' || kind == '5')) ||
                    (text.size() == 32 && kind == '6');
  if (!hex || !fits) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", std::string(text),
                     "\" is not an NAA identifier; write 16 hexadecimal digits of which "
                     "the first is 2, 3 or 5, or 32 of which it is 6, as 3000000000000001"));
  }
  const std::string bytes = absl::HexStringToBytes(std::string(text));
  to.assign(bytes.begin(), bytes.end());
  return absl::OkStatus();
}

absl::Status set_uuid(std::string_view text, storage::Uuid& to) {
  const absl::StatusOr<storage::Uuid> parsed = storage::parse_uuid(text);
  if (!parsed.ok()) return parsed.status();
  to = *parsed;
  return absl::OkStatus();
}

absl::Status set_name(std::string_view which, std::string_view text, UnitNames& names) {
  if (which == "serial") return set_serial(text, names.serial);
  if (which == "naa") return set_naa(text, names.naa);
  return set_uuid(text, names.uuid);
}

constexpr std::string_view kNames[] = {"serial", "naa", "uuid"};

void check_storage(JsonObject& object, LunConfig& lun) {
  if (!lun.store.empty()) {
    if (object.has("storage")) {
      object.refuse("store", "is given together with \"storage\"; leave one of them out");
    }
    if (object.has("block_size")) {
      object.refuse("block_size", "it is that of the store; leave it out");
    }
    if (lun.limits.any()) {
      object.refuse("store", "its limits belong to the store; write them there, in \"stores\"");
    }
  } else if (absl::Status status = take_own_options(lun); !status.ok()) {
    object.refuse("storage", std::string(status.message()));
  } else if (lun.block_size != 0 &&
             storage::block_size_of(lun.storage, lun.block_size) != lun.block_size) {
    object.refuse("block_size", absl::StrCat(lun.block_size, " contradicts ", lun.storage,
                                             "; leave one of them out"));
  }
}

LunConfig read_lun(JsonObject& object) {
  LunConfig lun;
  lun.line = object.line();
  object.text("storage", lun.storage);
  object.text("store", lun.store);
  uint16_t number = 0;
  object.number("lun", number, {.most = kMaxLuns - 1});
  if (object.has("lun")) lun.lun = number;
  object.number("block_size", lun.block_size);
  engine::read_limits(object, lun.limits);
  for (const std::string_view name : kNames) {
    std::string text;
    object.text(name, text);
    if (text.empty()) continue;
    if (absl::Status status = set_name(name, text, lun.names); !status.ok()) {
      object.refuse(name, std::string(status.message()));
    }
  }
  object.number("alua_group", lun.alua_group, {});
  std::string state;
  object.text("alua_state", state);
  if (object.has("alua_state")) {
    const auto parsed = scsi::parse_access_state(state);
    if (parsed.ok()) {
      lun.alua_state = *parsed;
    } else {
      object.refuse("alua_state", std::string(parsed.status().message()));
    }
  }
  std::string type = "both";
  object.text("alua_access_type", type);
  if (type != "both" && type != "implicit") {
    object.refuse("alua_access_type", absl::StrCat("\"", type, "\" is neither implicit nor both"));
  }
  lun.explicit_alua = type == "both";
  check_storage(object, lun);
  return lun;
}

TargetConfig read_target(JsonObject& object) {
  TargetConfig target;
  target.line = object.line();
  object.text("name", target.name);
  target.name = iscsi::normal_iscsi_name(target.name);
  object.text("alias", target.alias);
  object.number("relative_port", target.relative_port);
  object.entries(
      "luns",
      [&](std::string_view text, uint32_t line) {
        LunConfig& lun = target.luns.emplace_back(std::string(text));
        lun.line = line;
        if (absl::Status status = take_own_options(lun); !status.ok()) {
          object.refuse(absl::StrCat("luns[", target.luns.size() - 1, "]"),
                        std::string(status.message()));
        }
      },
      [&](JsonObject& each) { target.luns.push_back(read_lun(each)); });
  read_initiators(object, target);
  engine::HostLimitMap limits;
  engine::read_host_limits(object, "initiator_limits", "name", limits);
  for (const auto& [name, each] : limits) {
    target.initiator_limits.emplace(iscsi::normal_iscsi_name(name), each);
  }
  read_accounts(object, target.authentication, target.files);
  return target;
}

absl::Status check_initiators(const TargetConfig& target) {
  for (const auto& [name, limits] : target.initiator_limits) {
    if (name == engine::kOtherHosts || iscsi::valid_written_name(name)) continue;
    return wrong(target.name, absl::StrCat("initiator_limits: \"", name,
                                           "\" is no iSCSI name; write "
                                           "iqn.2026-11.org.example:host, or *"));
  }
  std::set<std::string_view> names;
  if (!target.initiators) return absl::OkStatus();
  for (const InitiatorConfig& initiator : *target.initiators) {
    if (!iscsi::valid_written_name(initiator.name)) {
      return wrong(target.name,
                   absl::StrCat("initiator \"", initiator.name,
                                "\" is not an iSCSI name; write iqn.2026-11.org.example:host"));
    }
    if (!names.insert(initiator.name).second) {
      return wrong(target.name,
                   absl::StrCat("initiator ", initiator.name, " is given twice; leave one out"));
    }
  }
  return absl::OkStatus();
}

std::string place(const TargetConfig& target, const LunConfig& lun) {
  return absl::StrCat(base::at_line(lun.line), target.name, ", LUN ", text_of(lun));
}

absl::Status check_name(const TargetConfig& target) {
  if (iscsi::valid_written_name(target.name)) return absl::OkStatus();
  return wrong("target", absl::StrCat("\"", target.name,
                                      "\" is not an iSCSI name; write "
                                      "iqn.2026-11.org.example:disk, 223 bytes at most"));
}

// RFC 7143 §13.7: text of the login phase.
absl::Status check_alias(const TargetConfig& target) {
  constexpr size_t kMaxAlias = 255;
  const auto control = [](char c) { return uint8_t(c) < 0x20 || c == 0x7f; };
  if (target.alias.size() <= kMaxAlias && std::ranges::none_of(target.alias, control)) {
    return absl::OkStatus();
  }
  return wrong(target.name,
               absl::StrCat("the alias has more than ", kMaxAlias,
                            " bytes, or control characters; write a shorter name for people"));
}

// For messages.
constexpr std::string_view kOfPlace[] = {"lun=N",     "serial=TEXT",      "naa=HEX",
                                         "uuid=UUID", "rw_ios_per_sec=N", "rw_mbytes_per_sec=N"};

absl::Status check_lun(const Config& config, const TargetConfig& target, const LunConfig& lun) {
  if (!lun.store.empty()) {
    if (engine::find_store(config.stores, lun.store) != nullptr) return absl::OkStatus();
    return absl::NotFoundError(
        absl::StrCat(place(target, lun),
                     ": there is no store of that name; \"stores\" of the configuration "
                     "names them"));
  }
  if (lun.block_size != 0 && !storage::valid_block_size(lun.block_size)) {
    return wrong(place(target, lun),
                 absl::StrCat("block_size ", lun.block_size, " is neither 512 nor 4096"));
  }
  const absl::Status status = storage::check(
      lun.storage,
      {.block_size = block_size_of(config, lun), .replaces = {}, .of_place = kOfPlace});
  if (status.ok()) return status;
  return wrong(place(target, lun), std::string(status.message()));
}

absl::Status check_luns(const Config& config, const TargetConfig& target) {
  const std::string name = base::at_line(target.line) + target.name;
  if (target.luns.empty()) {
    return wrong(name, "no LUN; write \"luns\": [\"ram:64MiB\"], or --lun ram:64MiB");
  }
  if (target.luns.size() > kMaxLuns) {
    return wrong(name, absl::StrCat(target.luns.size(), " LUNs; a target has at most ", kMaxLuns,
                                    ", so divide them among several"));
  }
  std::map<uint16_t, const LunConfig*> given;
  for (const LunConfig& lun : target.luns) {
    if (absl::Status status = check_lun(config, target, lun); !status.ok()) return status;
    if (!lun.lun) continue;
    if (*lun.lun >= kMaxLuns) {
      return wrong(place(target, lun), absl::StrCat("lun ", *lun.lun, " is above ", kMaxLuns - 1));
    }
    const auto [first, fresh] = given.emplace(*lun.lun, &lun);
    if (!fresh) {
      return wrong(place(target, lun), absl::StrCat("lun ", *lun.lun, " is that of ",
                                                    place(target, *first->second), " too"));
    }
  }
  return absl::OkStatus();
}

// A named store has one LUN.
absl::Status check_stores(const Config& config) {
  std::map<std::string, std::string> used;
  for (const TargetConfig& target : config.targets) {
    const std::vector<uint16_t> numbers = lun_numbers(target);
    for (size_t i = 0; i < target.luns.size(); ++i) {
      const LunConfig& lun = target.luns[i];
      if (lun.store.empty()) continue;
      const auto [first, fresh] =
          used.emplace(lun.store, absl::StrCat(target.name, " ", place_of(numbers[i])));
      if (fresh) continue;
      return absl::FailedPreconditionError(absl::StrCat(
          place(target, lun), ": the store is ", first->second, " already; a store has one LUN"));
    }
  }
  return absl::OkStatus();
}

// A name must identify one unit globally.
absl::Status check_unit_names(const Config& config) {
  std::map<std::string, std::string> given;
  for (const TargetConfig& target : config.targets) {
    for (const LunConfig& lun : target.luns) {
      const UnitNames names = given_names(config, lun);
      std::vector<std::string> written;
      if (!names.serial.empty()) written.push_back("serial " + names.serial);
      if (!names.naa.empty()) {
        written.push_back("naa " +
                          absl::BytesToHexString(
                              {reinterpret_cast<const char*>(names.naa.data()), names.naa.size()}));
      }
      if (names.uuid != storage::Uuid{}) {
        written.push_back("uuid " + storage::format_uuid(names.uuid));
      }
      for (const std::string& name : written) {
        const auto [first, fresh] = given.emplace(name, place(target, lun));
        if (fresh) continue;
        return wrong(place(target, lun),
                     absl::StrCat(name, " is that of ", first->second, " too; give each its own"));
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status take_own_options(LunConfig& lun) {
  if (lun.storage.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("is missing; write ", storage::examples()));
  }
  std::vector<std::string_view> own = {"lun", "serial", "naa", "uuid"};
  std::ranges::copy(engine::limit_names(), std::back_inserter(own));
  auto options = storage::take_options(lun.storage, own);
  if (!options.ok()) return options.status();
  if (absl::Status status = engine::take_limits(*options, lun.limits); !status.ok()) return status;
  const auto twice = [](std::string_view name) {
    return absl::InvalidArgumentError(absl::StrCat(
        "\"", std::string(name), "\" is given here and as a key; leave one of them out"));
  };
  for (const storage::StoreSpec::Option& option : *options) {
    if (option.name == "lun") {
      if (lun.lun) return twice(option.name);
      const auto number = base::parse_count(option.value, {.most = kMaxLuns - 1});
      if (!number.ok()) {
        return absl::InvalidArgumentError(absl::StrCat("lun: ", number.status().message()));
      }
      lun.lun = uint16_t(*number);
      continue;
    }
    UnitNames alone;
    if (absl::Status status = set_name(option.name, option.value, alone); !status.ok())
      return status;
    UnitNames& names = lun.names;
    const bool there = option.name == "serial" ? !names.serial.empty()
                       : option.name == "naa"  ? !names.naa.empty()
                                               : names.uuid != storage::Uuid{};
    if (there) return twice(option.name);
    (void)set_name(option.name, option.value, names);
  }
  return absl::OkStatus();
}

const std::string& text_of(const LunConfig& lun) {
  return lun.store.empty() ? lun.storage : lun.store;
}

const std::string& storage_of(const Config& config, const LunConfig& lun) {
  const engine::NamedStore* store = engine::find_store(config.stores, lun.store);
  return store == nullptr ? lun.storage : store->storage;
}

UnitNames given_names(const Config& config, const LunConfig& lun) {
  UnitNames names = lun.names;
  const engine::NamedStore* store = engine::find_store(config.stores, lun.store);
  if (store != nullptr && names.uuid == storage::Uuid{}) names.uuid = store->uuid;
  return names;
}

uint32_t block_size_of(const Config& config, const LunConfig& lun) {
  if (const engine::NamedStore* store = engine::find_store(config.stores, lun.store)) {
    return store->block_size;
  }
  return storage::block_size_of(lun.storage,
                                lun.block_size != 0 ? lun.block_size : config.block_size);
}

const engine::RateLimits& limits_of(const Config& config, const LunConfig& lun) {
  const engine::NamedStore* store = engine::find_store(config.stores, lun.store);
  return store == nullptr ? lun.limits : store->limits;
}

std::vector<uint16_t> lun_numbers(const TargetConfig& target) {
  std::set<uint16_t> used;
  for (const LunConfig& lun : target.luns) {
    if (lun.lun) used.insert(*lun.lun);
  }
  std::vector<uint16_t> numbers;
  uint16_t next = 0;
  for (const LunConfig& lun : target.luns) {
    if (!lun.lun) {
      while (used.contains(next)) ++next;
      used.insert(next);
    }
    numbers.push_back(lun.lun.value_or(next));
  }
  return numbers;
}

std::string place_of(uint16_t lun) { return absl::StrCat("LUN ", lun); }

std::vector<storage::WantedStore> wanted_stores(const Config& config) {
  std::vector<storage::WantedStore> wanted;
  for (const TargetConfig& target : config.targets) {
    const std::vector<uint16_t> numbers = lun_numbers(target);
    for (size_t i = 0; i < target.luns.size(); ++i) {
      const LunConfig& lun = target.luns[i];
      if (!lun.store.empty()) continue;
      wanted.push_back({.spec = lun.storage,
                        .block_size = block_size_of(config, lun),
                        .parent = target.name,
                        .place = place_of(numbers[i]),
                        .given = lun.lun.has_value(),
                        .named = lun.names.uuid != storage::Uuid{},
                        .apart = target.name,
                        .origin = base::at_line(lun.line)});
    }
  }
  for (const engine::NamedStore& store : config.stores) {
    wanted.push_back(engine::wanted_store(store));
  }
  return wanted;
}

std::optional<iscsi::Authentication> TargetConfig::account(std::string_view initiator) const {
  if (!initiators) return authentication;
  const auto found = std::ranges::find(*initiators, initiator, &InitiatorConfig::name);
  if (found == initiators->end()) return std::nullopt;
  iscsi::Authentication account = authentication;
  if (found->authentication.incoming) account.incoming = found->authentication.incoming;
  if (found->authentication.outgoing) account.outgoing = found->authentication.outgoing;
  return account;
}

absl::StatusOr<Config> parse_json(std::string_view text) {
  const auto value = base::parse_json_text(text);
  if (!value.ok()) return value.status();
  if (!value->value.is_object()) {
    return absl::InvalidArgumentError("the file must hold one JSON object");
  }
  JsonObject object(*value);
  Config config;
  engine::read_listen(object, config.listen);
  read_secret(object, "discovery_chap", config.discovery.incoming);
  read_secret(object, "discovery_mutual_chap", config.discovery.outgoing);
  read_secret_file(object, "discovery_chap_file", "discovery_chap",
                   config.discovery_files.incoming);
  read_secret_file(object, "discovery_mutual_chap_file", "discovery_mutual_chap",
                   config.discovery_files.outgoing);
  object.flag("open_discovery", config.open_discovery);
  object.number("block_size", config.block_size);
  if (!storage::valid_block_size(config.block_size)) {
    object.refuse("block_size",
                  absl::StrCat(config.block_size, " is neither ", storage::kBlockSizes[0], " nor ",
                               storage::kBlockSizes[1]));
  }
  object.flag("initial_r2t", config.initial_r2t);
  object.flag("immediate_data", config.immediate_data);
  engine::read_options(object, config.engine);
  engine::read_stores(object, config.stores);
  object.objects("targets", [&](JsonObject& each) { config.targets.push_back(read_target(each)); });
  if (absl::Status status = object.finish(); !status.ok()) return status;
  return config;
}

absl::Status complete(Config& config) {
  if (config.targets.empty() && !config.listen.empty()) {
    return absl::InvalidArgumentError(
        "there is no target to serve; give --target iqn.2026-11.org.example:disk, or write "
        "\"targets\": [{\"name\": \"iqn.2026-11.org.example:disk\", \"luns\": [\"ram:64MiB\"]}]");
  }
  return complete_live(config);
}

absl::Status complete_live(Config& config) {
  if (config.listen.empty()) {
    return wrong("listen", "no portal; give --listen uiwarp://127.0.0.1:3260");
  }
  if (absl::Status status = engine::complete_listen(config.listen, iscsi::kDefaultPort);
      !status.ok()) {
    return wrong("listen", std::string(status.message()));
  }
  if (absl::Status status = engine::complete_stores(config.stores, config.block_size);
      !status.ok()) {
    return status;
  }
  std::set<std::string> names;
  for (const TargetConfig& target : config.targets) {
    const std::string line = base::at_line(target.line);
    for (const auto check : {check_name, check_alias, check_initiators}) {
      if (absl::Status status = check(target); !status.ok()) {
        return absl::InvalidArgumentError(absl::StrCat(line, status.message()));
      }
    }
    if (!names.insert(target.name).second)
      return wrong(line + target.name, "is given twice; leave one out, or give it another name");
    if (absl::Status status = check_luns(config, target); !status.ok()) return status;
  }
  if (absl::Status status = check_stores(config); !status.ok()) return status;
  if (absl::Status status = check_unit_names(config); !status.ok()) return status;
  return check_secrets(config);
}

std::vector<std::string> unchangeable(const Config& running, const Config& wanted) {
  std::vector<std::string> keys = engine::differences(running.engine, wanted.engine);
  if (running.initial_r2t != wanted.initial_r2t) keys.emplace_back("initial_r2t");
  if (running.immediate_data != wanted.immediate_data) keys.emplace_back("immediate_data");
  return keys;
}

}  // namespace mrpool::iser_target
