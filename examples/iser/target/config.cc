#include "examples/iser/target/config.h"

#include <algorithm>
#include <array>
#include <set>

#include "absl/strings/str_cat.h"
#include "examples/base/json_object.h"
#include "examples/base/json_text.h"
#include "examples/iser/target/limits.h"
#include "examples/protocol/iscsi/chap.h"
#include "examples/protocol/iscsi/text.h"
#include "examples/storage/storage.h"
#include "mrpool/device.h"

namespace mrpool::iser_target {
namespace {

absl::Status wrong(std::string_view where, std::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(std::string(where), ": ", std::string(what)));
}

using daemon::JsonObject;

// What a string says beyond being one.
void read_secret(JsonObject& object, std::string_view key, std::optional<iscsi::Credentials>& to) {
  std::string written;
  object.text(key, written);
  if (written.empty()) return;
  iscsi::Credentials credentials;
  if (const absl::Status status = iscsi::parse_credentials(written, credentials); !status.ok()) {
    return object.refuse(key, std::string(status.message()));
  }
  to = std::move(credentials);
}

TargetConfig read_target(JsonObject& object) {
  TargetConfig target;
  object.text("name", target.name);
  target.name = iscsi::normal_iscsi_name(target.name);
  object.text("alias", target.alias);
  object.texts("luns", target.luns);
  object.texts("initiators", target.initiators);
  for (std::string& initiator : target.initiators) {
    initiator = iscsi::normal_iscsi_name(initiator);
  }
  read_secret(object, "chap", target.authentication.incoming);
  read_secret(object, "mutual_chap", target.authentication.outgoing);
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
  const auto value = daemon::parse_json_text(text);
  if (!value.ok()) return wrong("configuration", std::string(value.status().message()));
  if (!value->is_object()) return wrong("configuration", "must be an object");
  JsonObject object(value->as_object());
  Config config;
  object.texts("listen", config.listen);
  object.text("state_dir", config.state_dir);
  read_secret(object, "discovery_chap", config.discovery.incoming);
  read_secret(object, "discovery_mutual_chap", config.discovery.outgoing);
  object.number("block_size", config.block_size);
  object.flag("initial_r2t", config.initial_r2t);
  object.flag("immediate_data", config.immediate_data);
  engine::read_options(object, config.engine);
  object.objects("targets", [&](JsonObject& each) { config.targets.push_back(read_target(each)); });
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
  if (config.engine.staging < engine::kMinStaging || config.engine.staging > engine::kMaxStaging) {
    return wrong("staging", absl::StrCat(config.engine.staging, " bytes are not between ",
                                         engine::kMinStaging >> 20,
                                         "MiB, one transfer of the largest size, "
                                         "and ",
                                         engine::kMaxStaging >> 20, "MiB"));
  }
  if (config.engine.threads > engine::kMaxThreads) {
    return wrong("threads", absl::StrCat("at most ", engine::kMaxThreads));
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
    if (target.luns.size() > kMaxLuns) {
      return wrong(target.name, absl::StrCat(target.luns.size(), " LUNs; a target has at most ",
                                             kMaxLuns, ", so divide them among several"));
    }
    for (const std::string& initiator : target.initiators) {
      if (!iscsi::valid_iscsi_name(initiator)) {
        return wrong(target.name,
                     absl::StrCat("initiator \"", initiator,
                                  "\" is no iSCSI name; write iqn.2026-11.org.example:host"));
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
