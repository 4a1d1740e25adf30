#include "examples/iser/target/config_json.h"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <tuple>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "examples/base/json_print.h"
#include "examples/engine/options_json.h"
#include "examples/storage/saved_size.h"
#include "examples/storage/state_file.h"

namespace mrpool::iser_target {

namespace json = boost::json;

namespace {

class Writer {
 public:
  json::object root(const Config& config) {
    const Config defaults;
    json::object to;
    to["listen"] = json::array(config.listen.begin(), config.listen.end());
    accounts(config.discovery, config.discovery_files, "discovery_", to);
    if (config.open_discovery) to["open_discovery"] = true;
    if (config.block_size != defaults.block_size) to["block_size"] = config.block_size;
    if (!config.initial_r2t) to["initial_r2t"] = false;
    if (!config.immediate_data) to["immediate_data"] = false;
    engine::write_options(config.engine, to);
    engine::write_stores(config.stores, config.block_size, to);
    json::array targets;
    for (const TargetConfig& each : config.targets) targets.push_back(target(each));
    to["targets"] = std::move(targets);
    return to;
  }
  const absl::Status& status() const { return status_; }

 private:
  json::object target(const TargetConfig& target) {
    json::object to;
    to["name"] = target.name;
    if (!target.alias.empty()) to["alias"] = target.alias;
    if (target.relative_port != 1) to["relative_port"] = target.relative_port;
    json::array luns;
    for (const LunConfig& each : target.luns) luns.push_back(lun(each));
    to["luns"] = std::move(luns);
    if (!target.initiator_limits.empty()) {
      to["initiator_limits"] = engine::write_host_limits(target.initiator_limits, "name");
    }
    accounts(target.authentication, target.files, "", to);
    if (!target.initiators) return to;
    json::array initiators;
    for (const InitiatorConfig& each : *target.initiators) {
      json::object initiator;
      initiator["name"] = each.name;
      accounts(each.authentication, each.files, "", initiator);
      initiators.push_back(std::move(initiator));
    }
    to["initiators"] = std::move(initiators);
    return to;
  }

  json::object lun(const LunConfig& lun) {
    json::object to;
    if (lun.store.empty()) {
      to["storage"] = lun.storage;
    } else {
      to["store"] = lun.store;
    }
    if (lun.lun) to["lun"] = *lun.lun;
    if (lun.block_size != 0) to["block_size"] = lun.block_size;
    if (!lun.names.serial.empty()) to["serial"] = lun.names.serial;
    if (!lun.names.naa.empty()) {
      to["naa"] = absl::BytesToHexString(std::string(lun.names.naa.begin(), lun.names.naa.end()));
    }
    if (lun.names.uuid != storage::Uuid{}) to["uuid"] = storage::format_uuid(lun.names.uuid);
    engine::write_limits(lun.limits, to);
    if (lun.alua_group != 1) to["alua_group"] = lun.alua_group;
    if (lun.alua_state != scsi::AccessState::kOptimized) {
      to["alua_state"] = json::string(scsi::to_string(lun.alua_state));
    }
    if (!lun.explicit_alua) to["alua_access_type"] = "implicit";
    return to;
  }

  // An account from a file stays in its file.
  void accounts(const iscsi::Authentication& of, const AccountFiles& files, const char* prefix,
                json::object& to) {
    for (const auto& [account, file, name] : {std::tuple{&of.incoming, &files.incoming, "chap"},
                                              {&of.outgoing, &files.outgoing, "mutual_chap"}}) {
      const std::string key = absl::StrCat(prefix, name);
      if (!file->empty()) {
        to[key + "_file"] = *file;
        continue;
      }
      if (!*account) continue;
      const iscsi::Credentials& credentials = **account;
      if (credentials.user.find(':') != std::string::npos && status_.ok()) {
        status_ = absl::InvalidArgumentError(
            absl::StrCat("the user \"", credentials.user,
                         "\" has a colon, which ends the user in \"user:secret\"; give the account "
                         "another user, here and at the initiator"));
      }
      to[key] = absl::StrCat(credentials.user, ":", credentials.secret);
    }
  }

  absl::Status status_;
};

}  // namespace

absl::StatusOr<std::string> to_json(const Config& config) {
  Writer writer;
  const json::object root = writer.root(config);
  if (!writer.status().ok()) return writer.status();
  return base::print_json(root);
}

void note_present_sizes(Config& config) {
  for (engine::NamedStore& store : config.stores) {
    store.storage = storage::with_present_size(store.storage);
  }
  for (TargetConfig& target : config.targets) {
    for (LunConfig& lun : target.luns) lun.storage = storage::with_present_size(lun.storage);
  }
}

absl::StatusOr<std::string> save_config(const Config& config, const std::string& path,
                                        bool imported) {
  if (path.empty()) {
    return absl::FailedPreconditionError("there is no file to save to; start with --config FILE");
  }
  if (imported) {
    return absl::FailedPreconditionError(absl::StrCat(
        path, " is a file of targetcli; start with the output of --print-config instead"));
  }
  if (config.targets.empty()) {
    return absl::FailedPreconditionError(
        "no target is served, and a start would refuse such a file");
  }
  const auto text = to_json(config);
  if (!text.ok()) return text.status();
  absl::Status status = storage::replace_secret_file(path, *text);
  if (!status.ok()) return status;
  return path;
}

}  // namespace mrpool::iser_target
