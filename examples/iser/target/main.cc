// mrpool-iser-target: the engine's daemon with the protocol iSER.
#include <algorithm>
#include <cstdio>
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
#include "examples/iser/target/config_json.h"
#include "examples/iser/target/control_methods.h"
#include "examples/iser/target/options.h"
#include "examples/iser/target/secret_files.h"
#include "examples/iser/target/service.h"

namespace mrpool::iser_target {
namespace {

constexpr const char* kProgram = "mrpool-iser-target";

// Describes the initiators that may log in, and whether they must authenticate.
std::string admitted(const TargetConfig& target) {
  const auto proof = [](const iscsi::Authentication& account) {
    return account.incoming ? ", with CHAP" : "";
  };
  if (!target.initiators) {
    return absl::StrCat("any initiator", proof(target.authentication), " (it has no list)");
  }
  if (target.initiators->empty()) return "no initiator (its list is empty)";
  return absl::StrJoin(*target.initiators, "; ", [&](std::string* to, const InitiatorConfig& each) {
    absl::StrAppend(to, each.name, proof(*target.account(each.name)));
  });
}

// Only for comparison; never printed.
std::string accounts(const iscsi::Authentication& of) {
  std::string all;
  for (const auto& account : {of.incoming, of.outgoing}) {
    absl::StrAppend(&all, "\n", account ? absl::StrCat(account->user, ":", account->secret) : "");
  }
  return all;
}
std::string accounts(const TargetConfig& target) {
  std::string all = accounts(target.authentication);
  if (!target.initiators) return all;
  for (const InitiatorConfig& each : *target.initiators) all += accounts(each.authentication);
  return all;
}

// The limits at a target that are set, by what they limit.
std::map<std::string, std::string> limits_at(const Config& config, const TargetConfig& target) {
  std::map<std::string, std::string> all;
  const std::vector<uint16_t> numbers = lun_numbers(target);
  for (size_t i = 0; i < numbers.size(); ++i) {
    const engine::RateLimits& limits = limits_of(config, target.luns[i]);
    if (!limits.any()) continue;
    all.emplace(absl::StrCat(target.name, " ", place_of(numbers[i])), engine::describe(limits));
  }
  for (const auto& [name, limits] : target.initiator_limits) {
    all.emplace(absl::StrCat("initiator ", name, " at ", target.name), engine::describe(limits));
  }
  return all;
}

// `kept`: in a state directory.
std::string describe(const Unit& unit, bool kept) {
  const scsi::UnitFacts& facts = unit.logical.facts();
  return absl::StrCat(unit.volume->spec(), ", ", unit.logical.blocks(), " blocks of ",
                      facts.block_size, " bytes, ",
                      storage::describe(facts.uuid, unit.volume->identity(), kept));
}

void warn_of_exposed_secrets(const std::string& path, const Config& config) {
  const std::string warning = exposed_secrets(path, config);
  if (warning.empty()) return;
  base::log(
      {.event = base::Event::kSecretExposed, .message = absl::StrCat(kProgram, ": ", warning)});
}

class Daemon final : public engine::Application {
 public:
  Daemon(std::vector<std::string> arguments, const Options& options)
      : arguments_(std::move(arguments)),
        config_(options.config),
        logging_(options.config.engine),
        service_(options.config),
        control_(kProgram, service_, options.config, {options.config_file, options.imported}) {
    service_.log = base::log;
  }

  engine::Service& service() override { return service_.engine(); }

  absl::Status start(std::span<Reactor* const> reactors) override {
    return service_.start(reactors);
  }

  // Reads targets, units, secrets and access lists from the file again.
  std::vector<engine::Step> reload_steps() override {
    const auto options = std::make_shared<Options>();
    const auto next = std::make_shared<ControlState>();
    std::vector<engine::Step> steps;
    steps.push_back({engine::Step::Where::kAside, [this, options, next] {
                       absl::Status status = read_again(*options);
                       if (status.ok()) *next = ControlState::from(options->config);
                       return status;
                     }});
    steps.push_back({.run = [this] {
      engine::warn_of_unsaved(kProgram, control_.live().unsaved());
      return absl::OkStatus();
    }});
    std::ranges::move(control_.live().replace(next), std::back_inserter(steps));
    steps.push_back({.run = [this, options] {
      engine::continue_logging(logging_, options->config.engine);
      logging_ = options->config.engine;
      return absl::OkStatus();
    }});
    steps.push_back({engine::Step::Where::kAside, [options] {
                       warn_of_exposed_secrets(options->config_file, options->config);
                       return absl::OkStatus();
                     }});
    return steps;
  }

  void add_methods(engine::Administration& administration) override {
    control_.add_to(administration);
  }

  void ports_changed() override { service_.ports_changed(); }

  std::vector<std::shared_ptr<storage::Volume>> stores() override {
    return service_.site().stores();
  }

  void sizes_changed() override { service_.site().refresh_sizes(); }

  void print_served() override {
    for (const auto& target : service_.site().targets()) {
      const auto table = target->units();
      for (const auto& [lun, unit] : table->units) {
        std::printf("serving %s LUN %u: %s\n", target->name().c_str(), lun,
                    describe(*unit, keeps_uuids()).c_str());
      }
    }
  }

  std::map<std::string, std::string> state() override {
    std::map<std::string, std::string> all;
    for (const auto& target : service_.site().targets()) {
      const auto table = target->units();
      for (const auto& [lun, unit] : table->units) {
        all.emplace(absl::StrCat(target->name(), " ", place_of(lun)),
                    describe(*unit, keeps_uuids()));
      }
    }
    for (const TargetConfig& target : control_.config().targets) {
      all.emplace(absl::StrCat("initiators of ", target.name),
                  absl::StrCat(admitted(target), accounts(target)));
      if (!target.alias.empty()) all.emplace("alias of " + target.name, target.alias);
      for (const auto& [name, limits] : limits_at(control_.config(), target)) {
        all.emplace("limits of " + name, limits);
      }
    }
    for (const engine::NamedStore& store : control_.config().stores) {
      all.emplace("store " + store.name, absl::StrCat(store.storage, " ", store.block_size));
    }
    all.emplace("discovery", absl::StrCat(accounts(control_.config().discovery),
                                          control_.config().open_discovery ? " open" : ""));
    return all;
  }

  void observe(metrics::Snapshot& to) override { service_.observe(to); }

  void add_statistics(engine::Statistics& to) override { service_.add_statistics(to); }

 private:
  // Reads the configuration that a start would serve now.
  absl::Status read_again(Options& to) const {
    absl::StatusOr<Options> options = parse_arguments(arguments_);
    if (!options.ok()) return options.status();
    absl::Status status = engine::refuse_changes(unchangeable(config_, options->config));
    status.Update(config_.engine.sockets->check(options->config.listen));
    if (!status.ok()) return status;
    engine::log_notes(kProgram, options->config_file, options->notes);
    to = *std::move(options);
    return service_.engine().reload_tls();
  }
  bool keeps_uuids() const { return !config_.engine.state_dir.empty(); }

  const std::vector<std::string> arguments_;
  const Config config_;      // of the start
  engine::Options logging_;  // after the last reload
  Service service_;
  ControlMethods control_;
};

// --check-config: prints what the daemon would serve, as far as it is known without opening a
// store.
int check(const Options& options) {
  const Config& config = options.config;
  base::set_log_format(config.engine.log_format);
  engine::print_notes(kProgram, options.config_file, options.notes);
  const std::vector<storage::WantedStore> wanted = wanted_stores(config);
  const absl::Status status = engine::check_start(kProgram, config.listen, wanted, config.engine);
  if (!status.ok()) return engine::fail(kProgram, status);
  for (const std::string& address : config.listen) {
    std::printf("would listen on %s\n", address.c_str());
  }
  engine::print_files_to_make(wanted);
  for (const TargetConfig& target : config.targets) {
    const std::vector<uint16_t> numbers = lun_numbers(target);
    for (size_t i = 0; i < target.luns.size(); ++i) {
      const LunConfig& lun = target.luns[i];
      std::printf("would serve %s LUN %u: %s, blocks of %u bytes\n", target.name.c_str(),
                  numbers[i], storage_of(config, lun).c_str(), block_size_of(config, lun));
    }
    std::printf("would admit to %s: %s\n", target.name.c_str(), admitted(target).c_str());
    for (const auto& [what, limits] : limits_at(config, target)) {
      std::printf("would limit %s: %s\n", what.c_str(), limits.c_str());
    }
  }
  return base::end_of_output(kProgram, base::kExitOk);
}

// --print-config: prints the equivalent file for --config.
int print(const Options& options) {
  base::set_log_format(options.config.engine.log_format);
  engine::print_notes(kProgram, options.config_file, options.notes);
  const absl::StatusOr<std::string> text = to_json(options.config);
  if (!text.ok()) return engine::fail(kProgram, text.status());
  std::fputs(text->c_str(), stdout);
  return base::end_of_output(kProgram, base::kExitOk);
}

}  // namespace
}  // namespace mrpool::iser_target

int main(int argc, char** argv) {
  using mrpool::iser_target::kProgram;
  std::vector<std::string> arguments = mrpool::engine::begin_process(argc, argv);
  auto options = mrpool::iser_target::parse_arguments(arguments);
  if (!options.ok()) return mrpool::engine::fail(kProgram, options.status());
  if (options->answer) {
    std::fputs(options->answer->c_str(), stdout);
    return mrpool::base::end_of_output(kProgram, 0);
  }
  if (options->check_config) return mrpool::iser_target::check(*options);
  if (options->print_config) return mrpool::iser_target::print(*options);
  mrpool::iser_target::Config& config = options->config;
  const auto stores = mrpool::iser_target::wanted_stores(config);
  const absl::Status status =
      mrpool::engine::prepare_process(kProgram, config.listen, stores, config.engine);
  // In the requested log format.
  mrpool::engine::log_notes(kProgram, options->config_file, options->notes);
  if (!status.ok()) return mrpool::engine::fail(kProgram, status);
  mrpool::iser_target::warn_of_exposed_secrets(options->config_file, config);
  return mrpool::engine::run_daemon(
      kProgram, std::make_unique<mrpool::iser_target::Daemon>(std::move(arguments), *options));
}
