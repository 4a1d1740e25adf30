// mrpool-iser-target: the engine's daemon with iSER plugged in.
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "examples/base/exit_status.h"
#include "examples/base/peer_log.h"
#include "examples/engine/daemon.h"
#include "examples/iser/target/options.h"
#include "examples/iser/target/service.h"

namespace mrpool::iser_target {
namespace {

constexpr const char* kProgram = "mrpool-iser-target";

class Daemon final : public engine::Application {
 public:
  Daemon(std::vector<std::string> arguments, const Config& config)
      : arguments_(std::move(arguments)), service_(config) {
    service_.log = daemon::say_of_peers;
  }

  engine::Service& service() override { return service_.engine(); }

  absl::Status start(std::span<Reactor* const> reactors) override {
    return service_.start(reactors);
  }

  // Targets, units, secrets and access lists as the file has them now.
  absl::Status reload() override {
    const absl::StatusOr<Options> options = parse_arguments(arguments_);
    return options.ok() ? service_.apply(options->config) : options.status();
  }

  void print_served() override {
    for (const auto& target : service_.site().targets()) {
      const auto table = target->units();
      for (const auto& [lun, unit] : table->units) {
        const scsi::UnitFacts& facts = unit->logical.facts();
        std::printf("serving %s LUN %u: %s, %llu blocks of %u bytes\n", target->name().c_str(), lun,
                    unit->volume->spec().c_str(), static_cast<unsigned long long>(facts.blocks),
                    facts.block_size);
      }
    }
  }

  void add_statistics(engine::Statistics& to) override { service_.add_statistics(to); }

 private:
  const std::vector<std::string> arguments_;
  Service service_;
};

// --check-config: what the daemon would serve, as far as it can be said without opening anything.
int check(const Config& config) {
  for (const TargetConfig& target : config.targets) {
    for (const std::string& lun : target.luns) {
      const absl::Status status = storage::check(lun, {.block_size = config.block_size});
      if (!status.ok()) return engine::fail(kProgram, status);
    }
  }
  for (const std::string& address : config.listen) {
    std::printf("would listen on %s\n", address.c_str());
  }
  for (const TargetConfig& target : config.targets) {
    for (size_t lun = 0; lun < target.luns.size(); ++lun) {
      std::printf("would serve %s LUN %zu: %s, blocks of %u bytes\n", target.name.c_str(), lun,
                  target.luns[lun].c_str(),
                  storage::block_size_of(target.luns[lun], config.block_size));
    }
  }
  return base::end_of_output(kProgram, base::kExitOk);
}

}  // namespace
}  // namespace mrpool::iser_target

int main(int argc, char** argv) {
  using mrpool::iser_target::kProgram;
  mrpool::base::hold_standard_streams();
  std::vector<std::string> arguments(argv + 1, argv + argc);
  const auto options = mrpool::iser_target::parse_arguments(arguments);
  if (!options.ok()) return mrpool::engine::fail(kProgram, options.status());
  if (options->answer) {
    std::fputs(options->answer->c_str(), stdout);
    return mrpool::base::end_of_output(kProgram, 0);
  }
  if (options->check_config) return mrpool::iser_target::check(options->config);
  return mrpool::engine::run_daemon(kProgram, std::make_unique<mrpool::iser_target::Daemon>(
                                                  std::move(arguments), options->config));
}
