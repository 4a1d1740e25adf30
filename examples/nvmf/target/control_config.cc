// save_config, load_config, and the methods with which SPDK's rpc.py saves a configuration.
#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "examples/base/units.h"
#include "examples/engine/limits.h"
#include "examples/nvmf/target/config_json.h"
#include "examples/nvmf/target/control.h"
#include "examples/nvmf/target/limits.h"
#include "examples/storage/descriptor.h"
#include "examples/storage/saved_size.h"
#include "examples/storage/spec.h"
#include "examples/storage/state_file.h"

namespace mrpool::nvmf_target {

namespace json = boost::json;
using control::document;
using control::flag;
using control::Given;
using control::only;
using control::Reply;
using control::required;
using control::Result;
using control::text;
using engine::NamedStore;
using engine::Step;

namespace {

json::object call(std::string_view method, json::object parameters) {
  json::object one;
  one["method"] = json::string(method);
  one["params"] = std::move(parameters);
  return one;
}

bool only_options(const storage::StoreSpec& spec, std::initializer_list<std::string_view> names) {
  return std::ranges::all_of(spec.options, [&](const auto& option) {
    return std::ranges::find(names, option.name) != names.end();
  });
}

// The call with which SPDK's clients would create it, if they can.
json::object store_call(const NamedStore& store) {
  json::object parameters;
  parameters["name"] = store.name;
  parameters["block_size"] = store.block_size;
  if (store.uuid != Uuid{}) parameters["uuid"] = storage::format_uuid(store.uuid);
  const auto spec = storage::parse_spec(store.storage);
  const storage::StoreSpec::Option* name = spec.ok() ? spec->find("name") : nullptr;
  const bool memory = name != nullptr && name->value == store.name && only_options(*spec, {"name"});
  if (memory && (spec->scheme == "ram" || spec->scheme == "null")) {
    if (const auto bytes = base::parse_size(spec->target, {}); bytes.ok()) {
      parameters["num_blocks"] = *bytes / store.block_size;
      return call(spec->scheme == "ram" ? "bdev_malloc_create" : "bdev_null_create",
                  std::move(parameters));
    }
  }
  if (spec.ok() && spec->scheme == "file" && only_options(*spec, {"ro"})) {
    parameters["filename"] = spec->target;
    parameters["readonly"] = spec->find("ro") != nullptr;
    return call("bdev_aio_create", std::move(parameters));
  }
  parameters["storage"] = store.storage;
  return call("mrpool_store_create", std::move(parameters));
}

json::object create_call(const SubsystemConfig& subsystem) {
  json::object parameters;
  parameters["nqn"] = subsystem.nqn;
  parameters["allow_any_host"] = admits_any(subsystem);
  parameters["serial_number"] = subsystem.serial;
  if (!subsystem.model.empty()) parameters["model_number"] = subsystem.model;
  parameters["max_namespaces"] = subsystem.max_namespaces;
  parameters["ana_reporting"] = subsystem.ana_reporting;
  parameters["min_cntlid"] = subsystem.min_cntlid;
  parameters["max_cntlid"] = subsystem.max_cntlid;
  return call("nvmf_create_subsystem", std::move(parameters));
}

json::object listener_call(const std::string& nqn, const std::string& text) {
  return call("nvmf_subsystem_add_listener",
              {{"nqn", nqn}, {"listen_address", listener_parameter(text)}});
}

json::object namespace_call(const std::string& nqn, const NamespaceConfig& ns) {
  json::object one;
  one["nsid"] = ns.nsid;
  if (!ns.store.empty()) {
    one["bdev_name"] = ns.store;
  } else {
    one["storage"] = ns.storage;
    one["block_size"] = ns.block_size;
  }
  if (ns.uuid != Uuid{}) one["uuid"] = storage::format_uuid(ns.uuid);
  if (ns.ana_group > 1) one["anagrpid"] = ns.ana_group;
  if (ns.hosts) one["no_auto_visible"] = true;
  return call("nvmf_subsystem_add_ns", {{"nqn", nqn}, {"namespace", std::move(one)}});
}

json::object section(std::string_view name, json::array calls) {
  json::object one;
  one["subsystem"] = json::string(name);
  one["config"] = std::move(calls);
  return one;
}

// Files may have grown since they were opened.
void note_present_sizes(Config& config) {
  for (NamedStore& store : config.stores) store.storage = storage::with_present_size(store.storage);
  for (SubsystemConfig& subsystem : config.subsystems) {
    for (NamespaceConfig& ns : subsystem.namespaces) {
      ns.storage = storage::with_present_size(ns.storage);
    }
  }
}

// SPDK's options of a transport. Options that hosts could observe accept only the actual value;
// options of SPDK's memory have no effect.
std::vector<control::Parameter> transport_parameters(uint32_t in_capsule) {
  const char* const fixed = "it is fixed";
  std::vector<control::Parameter> all{
      required(control::choice("trtype", "the transport", {"RDMA", "rdma", "Rdma"})),
      target_parameter(),
      only("in_capsule_data_size", in_capsule, "it is set when the daemon starts, by --in-capsule"),
      only("max_io_size", kMaxTransfer, fixed),
      only("max_queue_depth", kMaxQueueEntries, fixed),
      only("max_aq_depth", kMaxQueueEntries, fixed),
      only("max_io_qpairs_per_ctrlr", kMaxIoQueues, fixed),
      only("abort_timeout_sec", engine::kAbortPatience / std::chrono::seconds(1), fixed),
      only("kas", kKeepAliveGranularity, fixed),
      only("min_kato", 0, "a host may ask for any keep-alive time"),
      only("masked_oncs", "", "hosts see all commands"),
      only("masked_fuses", "", "there are no fused commands"),
      only("no_srq", false, "SPDK's default is all there is"),
      only("c2h_success", true, "it is of TCP"),
      only("zcopy", false, "it is always on where it helps"),
      only("dif_insert_or_strip", false, "it is of TCP"),
      only("no_wr_batching", false, "requests are posted in chains"),
      only("disable_mappable_bar0", false, "it is of vfio-user"),
      only("disable_adaptive_irq", false, "it is of vfio-user"),
      only("disable_shadow_doorbells", false, "it is of vfio-user"),
      only("disable_command_passthru", false, "stores are not drives")};
  for (const char* name :
       {"io_unit_size", "num_shared_buffers", "buf_cache_size", "iobuf_small_cache_size",
        "iobuf_large_cache_size", "num_cqe", "max_srq_depth", "sock_priority", "acceptor_backlog",
        "acceptor_poll_rate", "control_msg_num", "ack_timeout", "data_wr_pool_size"}) {
    all.push_back(control::number(name, "no effect: it is of SPDK's memory and polling"));
  }
  return all;
}

}  // namespace

json::object listener_parameter(const std::string& listener) {
  const auto address = Address::parse(listener);
  json::object where;
  where["trtype"] = "RDMA";
  where["traddr"] =
      listener.substr(0, listener.find("://") + 3) + (address.ok() ? address->host : "");
  where["trsvcid"] = absl::StrCat(address.ok() ? address->port : 0);
  if (address.ok() && !address->options.empty()) where["options"] = address->options;
  return where;
}

json::array store_calls(const Config& config) {
  json::array all;
  for (const NamedStore& store : config.stores) {
    all.push_back(store_call(store));
    add_limit_call(store.name, store.limits, all);
  }
  return all;
}

json::array subsystem_calls(const Config& config) {
  json::array all;
  for (const SubsystemConfig& subsystem : config.subsystems) {
    all.push_back(create_call(subsystem));
    for (const NamespaceConfig& ns : subsystem.namespaces) {
      all.push_back(namespace_call(subsystem.nqn, ns));
      if (ns.store.empty()) add_limit_call(own_store_name(subsystem.nqn, ns.nsid), ns.limits, all);
      for (const std::string& host : ns.hosts.value_or(HostSet())) {
        all.push_back(
            call("nvmf_ns_add_host", {{"nqn", subsystem.nqn}, {"nsid", ns.nsid}, {"host", host}}));
      }
    }
    if (subsystem.hosts) {
      for (const std::string& host : *subsystem.hosts) {
        json::object parameters{{"nqn", subsystem.nqn}, {"host", host}};
        add_key_names(subsystem, host, parameters);
        all.push_back(call("nvmf_subsystem_add_host", std::move(parameters)));
      }
    }
    add_limit_calls(subsystem, all);
    for (const std::string& listener : subsystem.listeners) {
      all.push_back(listener_call(subsystem.nqn, listener));
    }
    std::ranges::copy(ana_calls(subsystem), std::back_inserter(all));
  }
  std::ranges::copy(discovery_calls(config), std::back_inserter(all));
  std::ranges::copy(referral_calls(config), std::back_inserter(all));
  return all;
}

void Control::add_config_methods() {
  control::Methods& methods = administration_->methods;
  methods.add(
      {.name = "save_config",
       .summary = "the served configuration, as calls; with \"write\" or \"filename\" the "
                  "configuration file is written too",
       .parameters = {flag("write", "replace the file of --config"),
                      text("filename", "write this file instead; an absolute path")},
       .changes = true,
       .start = [this](const Given& given, Reply reply) { save(given, std::move(reply)); }});
  methods.add(
      {.name = "load_config",
       .summary = "replace the configuration, as a whole or not at all",
       .parameters = {document("config", "the content of a configuration file"),
                      text("filename", "or the file, by an absolute path")},
       .changes = true,
       .start = [this](const Given& given, Reply reply) { load(given, std::move(reply)); }});
  add_look("framework_get_subsystems", "the sections of framework_get_config", {},
           [](const Given&) -> Result {
             return json::value(json::array{
                 {{"subsystem", "keyring"}, {"depends_on", json::array()}},
                 {{"subsystem", "bdev"}, {"depends_on", json::array()}},
                 {{"subsystem", "nvmf"}, {"depends_on", json::array{"keyring", "bdev"}}}});
           });
  add_look("framework_get_config", "a section of the served configuration, as calls",
           {required(control::choice("name", "the section", {"keyring", "bdev", "nvmf"})),
            flag("with_batches", "there are none")},
           [this](const Given& given) -> Result {
             const std::string name = given.text("name");
             return json::value(name == "keyring" ? key_calls(config())
                                : name == "bdev"  ? store_calls(config())
                                                  : subsystem_calls(config()));
           });
  methods.add({.name = "nvmf_create_transport",
               .summary = "no effect: RDMA is always available, with the options of the daemon",
               .parameters = transport_parameters(service_.in_capsule()),
               .run = [](const Given&) -> Result { return json::value(true); }});
}

void Control::save(const Given& given, Reply reply) {
  const bool writes = given.flag("write") || given.has("filename");
  std::string path = given.text("filename", config_file_);
  if (writes && path.empty()) {
    return reply(absl::FailedPreconditionError(
        "this daemon was started without --config; give a \"filename\""));
  }
  if (given.has("filename") && !path.starts_with('/')) {
    return reply(absl::InvalidArgumentError("\"filename\" must be an absolute path"));
  }
  struct Saved {
    Config config;
    json::value result;
  };
  const auto saved = std::make_shared<Saved>();
  std::vector<Step> steps;
  steps.push_back({.run = [this, saved] {
    saved->config = config();
    return absl::OkStatus();
  }});
  steps.push_back({Step::Where::kAside, [saved] {
                     note_present_sizes(saved->config);
                     return absl::OkStatus();
                   }});
  steps.push_back({.run = [saved] {
    const Config& all = saved->config;
    saved->result = {{"subsystems", json::array{section("keyring", key_calls(all)),
                                                section("bdev", store_calls(all)),
                                                section("nvmf", subsystem_calls(all))}}};
    return absl::OkStatus();
  }});
  if (writes) {
    steps.push_back({Step::Where::kAside, [saved, path] {
                       return storage::replace_file(path, to_json(saved->config));
                     }});
    steps.push_back({.run = [this, path] {
      if (path == config_file_) live_.saved();
      return absl::OkStatus();
    }});
  }
  administration_->changes.add(std::move(steps), [saved, reply](const absl::Status& status) {
    reply(status.ok() ? Result(saved->result) : Result(status));
  });
}

void Control::load(const Given& given, Reply reply) {
  const std::string path = given.text("filename");
  if (path.empty() == !given.has("config")) {
    return reply(absl::InvalidArgumentError("give a \"config\" or a \"filename\", one of them"));
  }
  if (!path.empty() && !path.starts_with('/')) {
    return reply(absl::InvalidArgumentError("\"filename\" must be an absolute path"));
  }
  const auto text = std::make_shared<std::string>();
  if (path.empty()) *text = json::serialize(given.all().at("config"));
  std::vector<Step> steps;
  steps.push_back({Step::Where::kAside, [text, path] {
                     if (path.empty()) return absl::OkStatus();
                     absl::StatusOr<std::string> read = storage::read_text(path);
                     if (read.ok()) *text = *std::move(read);
                     return read.status();
                   }});
  // Options of the daemon do not change.
  std::vector<Step> change = live_.change([text](Config& config) {
    auto next = parse_config(*text, true);
    if (!next.ok()) return next.status();
    next->engine = config.engine;
    next->in_capsule = config.in_capsule;
    config = *std::move(next);
    return absl::OkStatus();
  });
  std::ranges::move(change, std::back_inserter(steps));
  administration_->changes.add(std::move(steps), engine::answer_with(std::move(reply), true));
}

}  // namespace mrpool::nvmf_target
