#include "examples/iser_target/config.h"

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <limits>
#include <set>

#include "absl/strings/str_cat.h"
#include "examples/daemon/json_text.h"
#include "examples/iscsi/chap.h"
#include "examples/iscsi/text.h"
#include "examples/iser_target/limits.h"
#include "examples/storage/storage.h"
#include "mrpool/device.h"

namespace mrpool::iser_target {
namespace {

namespace json = boost::json;

absl::Status wrong(std::string_view where, std::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(std::string(where), ": ", std::string(what)));
}

// Reads the keys of one object; every key has to be known.
class Object {
 public:
  Object(const json::object& object, std::string where)
      : object_(object), where_(std::move(where)) {}

  void text(std::string_view key, std::string& to) {
    const json::value* value = take(key);
    if (value == nullptr) return;
    if (!value->is_string()) return fail(key, "must be a string");
    to = value->as_string();
  }
  void list(std::string_view key, std::vector<std::string>& to) {
    const json::value* value = take(key);
    if (value == nullptr) return;
    if (!value->is_array()) return fail(key, "must be a list of strings");
    for (const json::value& member : value->as_array()) {
      if (!member.is_string()) return fail(key, "must be a list of strings");
      to.emplace_back(member.as_string());
    }
  }
  void flag(std::string_view key, bool& to) {
    const json::value* value = take(key);
    if (value == nullptr) return;
    if (!value->is_bool()) return fail(key, "must be true or false");
    to = value->as_bool();
  }
  template <typename Number>
  void number(std::string_view key, Number& to) {
    const json::value* value = take(key);
    if (value == nullptr) return;
    if (!value->is_int64() || value->as_int64() < 1 ||
        uint64_t(value->as_int64()) > std::numeric_limits<Number>::max()) {
      return fail(key, "must be a positive whole number");
    }
    to = Number(value->as_int64());
  }
  void size(std::string_view key, uint64_t& to) {
    std::string written;
    text(key, written);
    if (written.empty()) return;
    const absl::StatusOr<uint64_t> bytes = storage::parse_size(written);
    if (!bytes.ok()) return fail(key, std::string(bytes.status().message()));
    to = *bytes;
  }
  void secret(std::string_view key, std::optional<iscsi::Credentials>& to) {
    std::string written;
    text(key, written);
    if (written.empty()) return;
    iscsi::Credentials credentials;
    if (const absl::Status status = iscsi::parse_credentials(written, credentials); !status.ok()) {
      return fail(key, std::string(status.message()));
    }
    to = std::move(credentials);
  }
  const json::array* array(std::string_view key) {
    const json::value* value = take(key);
    if (value == nullptr) return nullptr;
    if (!value->is_array()) {
      fail(key, "must be a list");
      return nullptr;
    }
    return &value->as_array();
  }
  absl::Status finish() {
    if (!status_.ok()) return status_;
    for (const auto& member : object_) {
      if (!known_.contains(std::string(member.key()))) {
        return wrong(where_, absl::StrCat("unknown key \"", std::string(member.key()), "\""));
      }
    }
    return absl::OkStatus();
  }

 private:
  const json::value* take(std::string_view key) {
    known_.emplace(key);
    return object_.if_contains(key);
  }
  void fail(std::string_view key, std::string_view what) {
    if (status_.ok()) status_ = wrong(where_ + "." + std::string(key), what);
  }

  const json::object& object_;
  std::string where_;
  std::set<std::string> known_;
  absl::Status status_;
};

absl::StatusOr<TargetConfig> parse_target(const json::value& value, size_t index) {
  const std::string where = absl::StrCat("targets[", index, "]");
  if (!value.is_object()) return wrong(where, "must be an object");
  Object object(value.as_object(), where);
  TargetConfig target;
  object.text("name", target.name);
  target.name = iscsi::normal_iscsi_name(target.name);
  object.text("alias", target.alias);
  object.list("luns", target.luns);
  object.list("initiators", target.initiators);
  for (std::string& initiator : target.initiators) {
    initiator = iscsi::normal_iscsi_name(initiator);
  }
  object.secret("chap", target.authentication.incoming);
  object.secret("mutual_chap", target.authentication.outgoing);
  if (absl::Status status = object.finish(); !status.ok()) return status;
  return target;
}

absl::Status check_authentication(const iscsi::Authentication& authentication,
                                  std::string_view where) {
  if (!authentication.outgoing) return absl::OkStatus();
  if (!authentication.incoming) {
    return wrong(where, "mutual CHAP needs one-way CHAP; give --chap or \"chap\" too");
  }
  if (authentication.incoming->secret == authentication.outgoing->secret) {
    // RFC 7143 §9.2.1: otherwise a false target could reflect a challenge.
    return wrong(where, "the secrets of both directions must differ");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Config> parse_json(std::string_view text) {
  const absl::StatusOr<json::value> value = daemon::parse_json_text(text);
  if (!value.ok()) return wrong("configuration", std::string(value.status().message()));
  if (!value->is_object()) return wrong("configuration", "must be an object");
  Object object(value->as_object(), "configuration");
  Config config;
  object.list("listen", config.listen);
  object.text("state_dir", config.state_dir);
  object.secret("discovery_chap", config.discovery.incoming);
  object.secret("discovery_mutual_chap", config.discovery.outgoing);
  object.number("block_size", config.block_size);
  object.size("staging", config.staging);
  object.number("mrs", config.mrs);
  object.number("max_connections", config.max_connections);
  object.flag("initial_r2t", config.initial_r2t);
  object.flag("immediate_data", config.immediate_data);
  object.flag("force_mr", config.force_mr);
  if (const json::array* targets = object.array("targets")) {
    for (size_t i = 0; i < targets->size(); ++i) {
      absl::StatusOr<TargetConfig> target = parse_target((*targets)[i], i);
      if (!target.ok()) return target.status();
      config.targets.push_back(*std::move(target));
    }
  }
  if (absl::Status status = object.finish(); !status.ok()) return status;
  return config;
}

absl::Status validate(const Config& config) {
  if (config.listen.empty()) {
    return wrong("listen", "no portal; give --listen uiwarp://127.0.0.1:3260");
  }
  for (const std::string& address : config.listen) {
    if (const auto parsed = Address::parse(address); !parsed.ok()) {
      return wrong("listen", std::string(parsed.status().message()));
    }
  }
  if (config.targets.empty()) {
    return wrong("target", "none; give --target iqn.2026-11.org.example:disk");
  }
  if (config.block_size != 512 && config.block_size != 4096) {
    return wrong("block_size", absl::StrCat(config.block_size, " is neither 512 nor 4096"));
  }
  if (config.staging < kMinStaging || config.staging > kMaxStaging) {
    return wrong("staging",
                 absl::StrCat(config.staging, " bytes are not between ", kMinStaging >> 20,
                              "MiB, one transfer of the largest size, "
                              "and ",
                              kMaxStaging >> 20, "MiB"));
  }
  if (absl::Status status = check_authentication(config.discovery, "discovery"); !status.ok()) {
    return status;
  }
  std::set<std::string> names;
  for (const TargetConfig& target : config.targets) {
    if (!iscsi::valid_iscsi_name(target.name)) {
      return wrong("target",
                   absl::StrCat("\"", target.name,
                                "\" is no iSCSI name; write iqn.2026-11.org.example:disk"));
    }
    if (!names.insert(target.name).second) return wrong(target.name, "is there twice");
    if (target.luns.empty()) return wrong(target.name, "no LUN; give --lun ram:64MiB");
    for (const std::string& initiator : target.initiators) {
      if (!iscsi::valid_iscsi_name(initiator)) {
        return wrong(target.name, absl::StrCat("initiator \"", initiator, "\" is no iSCSI name"));
      }
    }
    if (absl::Status status = check_authentication(target.authentication, target.name);
        !status.ok()) {
      return status;
    }
  }
  return absl::OkStatus();
}

}  // namespace mrpool::iser_target
