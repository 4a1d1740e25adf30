// mrpool-nvmf-target: the engine's daemon with the protocol NVMe over RDMA.
#include <algorithm>
#include <cstdio>
#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "examples/base/exit_status.h"
#include "examples/base/log.h"
#include "examples/engine/check_start.h"
#include "examples/engine/daemon.h"
#include "examples/engine/import.h"
#include "examples/engine/start.h"
#include "examples/gateway/daemon/group.h"
#include "examples/gateway/daemon/show.h"
#include "examples/nvmf/target/config_json.h"
#include "examples/nvmf/target/control.h"
#include "examples/nvmf/target/gateway.h"
#include "examples/nvmf/target/options.h"
#include "examples/nvmf/target/service.h"

namespace mrpool::nvmf_target {
namespace {

constexpr const char* kProgram = "mrpool-nvmf-target";

std::string admitted(const SubsystemConfig& subsystem) {
  if (!subsystem.hosts) return "any host (it has no list of hosts)";
  if (!subsystem.allow_any_host && subsystem.hosts->empty()) {
    return "no host (its list of hosts is empty)";
  }
  std::vector<std::string> all;
  for (const std::string& host : *subsystem.hosts) {
    const bool proves = subsystem.proofs.contains(host);
    if (subsystem.allow_any_host && !proves) continue;
    all.push_back(absl::StrCat(host, proves ? ", with DH-HMAC-CHAP" : ""));
  }
  if (subsystem.allow_any_host) all.insert(all.begin(), "any host");
  return absl::StrJoin(all, ", ");
}

// What a host has to prove, for comparison.
std::string proof_of(const HostProof& proof) {
  std::string text = absl::StrCat(proof.key, "\n", proof.ctrlr_key);
  for (const auto each : proof.digests) absl::StrAppend(&text, "\n", int(each));
  for (const auto each : proof.dhgroups) absl::StrAppend(&text, "\ngroup ", int(each));
  return text;
}

std::string seen_by(const NamespaceConfig& ns) {
  return ns.hosts->empty() ? "no host" : absl::StrJoin(*ns.hosts, ", ");
}

// For the report of a reload.
void add_ana(const SubsystemConfig& subsystem, std::map<std::string, std::string>& to) {
  for (const AnaRule& rule : subsystem.ana) {
    to.emplace(absl::StrCat("ANA state of ",
                            rule.group == 0 ? "all groups" : absl::StrCat("group ", rule.group),
                            " of ", subsystem.nqn, " at ",
                            rule.listener.empty() ? "all listeners" : rule.listener),
               std::string(to_string(rule.state)));
  }
  for (const NamespaceConfig& ns : subsystem.namespaces) {
    if (ns.ana_group <= 1) continue;
    to.emplace(absl::StrCat("ANA group of ", subsystem.nqn, " ", place_of(ns.nsid)),
               absl::StrCat(ns.ana_group));
  }
}

// `kept`: in a state directory.
std::string describe(const Namespace& ns, bool kept) {
  const storage::Geometry& geometry = ns.volume->geometry();
  return absl::StrCat(ns.volume->spec(), ", ", geometry.blocks, " blocks of ", geometry.block_size,
                      " bytes, ", storage::describe(ns.uuid, ns.volume->identity(), kept));
}

class Daemon final : public engine::Application {
 public:
  Daemon(std::vector<std::string> arguments, DaemonOptions options)
      : arguments_(std::move(arguments)),
        options_(std::move(options)),
        logging_(options_.service.engine),
        service_(options_.service),
        control_(service_, options_.config, options_.config_file) {}

  engine::Service& service() override { return service_.engine(); }

  absl::Status start(std::span<Reactor* const> reactors) override {
    for (Reactor* reactor : reactors) {
      if (absl::Status status = service_.add_worker(*reactor); !status.ok()) return status;
    }
    if (!options_.service.engine.gateway.any()) return service_.apply(options_.config);
    auto group = gateway::Group::open(options_.service.engine.gateway, "ANA group");
    if (!group.ok()) return group.status();
    group_ = *std::move(group);
    service_.join(*group_);
    if (absl::Status status = service_.apply(options_.config); !status.ok()) return status;
    gateway_ = std::make_unique<Gateway>(*group_, service_, control_.live(), *administration_);
    return gateway_->start();
  }

  void leave(std::function<void()> done) override {
    group_ == nullptr ? done() : group_->leave(std::move(done));
  }

  // A reload removes everything that is not in the file.
  std::vector<engine::Step> reload_steps() override {
    const auto wanted = std::make_shared<Config>();
    const auto engine = std::make_shared<engine::Options>();
    std::vector<engine::Step> steps;
    steps.push_back({engine::Step::Where::kAside,
                     [this, wanted, engine] { return read_again(*wanted, *engine); }});
    steps.push_back({.run = [this] {
      engine::warn_of_unsaved(kProgram, control_.live().unsaved());
      return absl::OkStatus();
    }});
    std::ranges::move(control_.live().replace(wanted), std::back_inserter(steps));
    steps.push_back({.run = [this, engine] {
      engine::continue_logging(logging_, *engine);
      logging_ = *engine;
      return absl::OkStatus();
    }});
    return steps;
  }

  void add_methods(engine::Administration& administration) override {
    administration_ = &administration;
    control_.add_methods(administration);
    gateway::add_methods(administration.methods, [this] { return group_.get(); });
  }

  void ports_changed() override { service_.ports_changed(); }

  std::vector<std::shared_ptr<storage::Volume>> stores() override { return service_.stores(); }

  void sizes_changed() override { service_.target().refresh_sizes(); }

  void print_served() override {
    for (const auto& subsystem : service_.target().subsystems()) {
      const auto table = subsystem->namespaces();
      for (const Namespace& ns : table->namespaces) {
        std::printf("serving %s namespace %u: %s\n", subsystem->nqn.c_str(), ns.nsid,
                    describe(ns, keeps_uuids()).c_str());
      }
    }
  }

  std::map<std::string, std::string> state() override {
    std::map<std::string, std::string> all;
    for (const auto& subsystem : service_.target().subsystems()) {
      const auto table = subsystem->namespaces();
      for (const Namespace& ns : table->namespaces) {
        all.emplace(absl::StrCat(subsystem->nqn, " ", place_of(ns.nsid)),
                    describe(ns, keeps_uuids()));
      }
    }
    for (const SubsystemConfig& subsystem : control_.config().subsystems) {
      all.emplace(absl::StrCat("hosts of ", subsystem.nqn), admitted(subsystem));
      for (const auto& [host, proof] : subsystem.proofs) {
        all.emplace(absl::StrCat("proof of ", host, " at ", subsystem.nqn), proof_of(proof));
      }
      for (const auto& [host, limits] : subsystem.host_limits) {
        all.emplace(absl::StrCat("limits of host ", host, " at ", subsystem.nqn),
                    engine::describe(limits));
      }
      for (const NamespaceConfig& ns : subsystem.namespaces) {
        if (const auto& limits = limits_of(control_.config(), ns); limits.any()) {
          all.emplace(absl::StrCat("limits of ", subsystem.nqn, " ", place_of(ns.nsid)),
                      engine::describe(limits));
        }
        if (!ns.hosts) continue;
        all.emplace(absl::StrCat("hosts of ", subsystem.nqn, " ", place_of(ns.nsid)), seen_by(ns));
      }
      all.emplace(subsystem.nqn, absl::StrCat(subsystem.serial, "\n", subsystem.model, "\n",
                                              subsystem.traffic_keep_alive ? 1 : 0));
      add_ana(subsystem, all);
    }
    all.emplace("authentication of discovery", to_string(control_.config().discovery_proof));
    for (const Referral& referral : control_.config().referrals) {
      all.emplace("referral to " + name_of(referral), referral.secure_channel ? "secure" : "");
    }
    for (const engine::NamedStore& store : control_.config().stores) {
      all.emplace("store " + store.name, absl::StrCat(store.storage, " ", store.block_size));
    }
    return all;
  }

  void observe(metrics::Snapshot& to) override {
    service_.observe(to);
    if (group_ != nullptr) gateway::observe(group_->status(), to);
  }

  void add_statistics(engine::Statistics& to) override { service_.add_statistics(to); }

 private:
  // Reads the configuration that a start would serve now.
  absl::Status read_again(Config& to, engine::Options& engine) const {
    if (options_.config_file.empty()) {
      return absl::FailedPreconditionError("there is nothing to read again without --config");
    }
    auto wanted = parse_arguments(arguments_);
    if (!wanted.ok()) return wanted.status();
    auto keys = engine::differences(options_.service.engine, wanted->service.engine);
    if (options_.service.in_capsule != wanted->service.in_capsule) keys.emplace_back("in_capsule");
    absl::Status status = engine::refuse_changes(keys);
    status.Update(options_.service.engine.sockets->check(ports_of(wanted->config)));
    if (!status.ok()) return status;
    engine::log_notes(kProgram, wanted->config_file, wanted->notes);
    engine::warn_of_memory(kProgram, wanted_stores(wanted->config));
    engine = wanted->service.engine;
    to = std::move(wanted->config);
    to.may_be_empty = true;  // the control socket may add the rest
    return service_.engine().reload_tls();
  }
  bool keeps_uuids() const { return !options_.service.engine.state_dir.empty(); }

  const std::vector<std::string> arguments_;
  const DaemonOptions options_;
  engine::Options logging_;                // after the last reload
  std::unique_ptr<gateway::Group> group_;  // null: not one of a group of gateways
  Service service_;
  Control control_;
  engine::Administration* administration_ = nullptr;
  std::unique_ptr<Gateway> gateway_;
};

// --check-config: prints what the daemon would serve, as far as it is known without opening a
// store.
int check(const DaemonOptions& options) {
  const Config& config = options.config;
  const engine::Options& engine = options.service.engine;
  base::set_log_format(engine.log_format);
  engine::print_notes(kProgram, options.config_file, options.notes);
  const std::vector<storage::WantedStore> wanted = wanted_stores(config);
  if (absl::Status status = engine::check_start(kProgram, ports_of(config), wanted, engine);
      !status.ok()) {
    return engine::fail(kProgram, status);
  }
  for (const std::string& address : ports_of(config)) {
    std::printf("would listen on %s\n", address.c_str());
  }
  if (config.discovery_proof != DiscoveryProof::kOff) {
    std::printf("would admit to discovery: %shosts with a key, with DH-HMAC-CHAP\n",
                config.discovery_proof == DiscoveryProof::kKeys ? "any host; " : "");
  }
  engine::print_files_to_make(wanted);
  for (const Referral& referral : config.referrals) {
    std::printf("would refer to %s\n", name_of(referral).c_str());
  }
  for (const SubsystemConfig& subsystem : config.subsystems) {
    for (const NamespaceConfig& ns : subsystem.namespaces) {
      const engine::RateLimits& limits = limits_of(config, ns);
      std::printf("would serve %s namespace %u: %s, blocks of %u bytes%s\n", subsystem.nqn.c_str(),
                  ns.nsid, storage_of(config, ns).c_str(), block_size_of(config, ns),
                  ns.hosts ? absl::StrCat(", seen by ", seen_by(ns)).c_str() : "");
      if (!limits.any()) continue;
      std::printf("would limit %s namespace %u: %s\n", subsystem.nqn.c_str(), ns.nsid,
                  engine::describe(limits).c_str());
    }
    std::printf("would admit to %s: %s\n", subsystem.nqn.c_str(), admitted(subsystem).c_str());
    for (const auto& [host, limits] : subsystem.host_limits) {
      std::printf("would limit host %s at %s: %s\n", host.c_str(), subsystem.nqn.c_str(),
                  engine::describe(limits).c_str());
    }
  }
  return base::end_of_output(kProgram, base::kExitOk);
}

// --print-config: prints the equivalent file for --config.
int print(const DaemonOptions& options) {
  Config config = options.config;
  config.engine = options.service.engine;
  config.in_capsule = options.service.in_capsule;
  base::set_log_format(config.engine.log_format);
  engine::print_notes(kProgram, options.config_file, options.notes);
  std::fputs(to_json(config).c_str(), stdout);
  return base::end_of_output(kProgram, base::kExitOk);
}

}  // namespace
}  // namespace mrpool::nvmf_target

int main(int argc, char** argv) {
  using mrpool::nvmf_target::kProgram;
  std::vector<std::string> arguments = mrpool::engine::begin_process(argc, argv);
  auto options = mrpool::nvmf_target::parse_arguments(arguments);
  if (!options.ok()) return mrpool::engine::fail(kProgram, options.status());
  if (options->answer) {
    std::fputs(options->answer->c_str(), stdout);
    return mrpool::base::end_of_output(kProgram, 0);
  }
  if (options->check_config) return mrpool::nvmf_target::check(*options);
  if (options->print_config) return mrpool::nvmf_target::print(*options);
  const auto stores = mrpool::nvmf_target::wanted_stores(options->config);
  const absl::Status status = mrpool::engine::prepare_process(kProgram, ports_of(options->config),
                                                              stores, options->service.engine);
  // In the requested log format.
  mrpool::engine::log_notes(kProgram, options->config_file, options->notes);
  if (!status.ok()) return mrpool::engine::fail(kProgram, status);
  return mrpool::engine::run_daemon(
      kProgram, std::make_unique<mrpool::nvmf_target::Daemon>(std::move(arguments), *options));
}
