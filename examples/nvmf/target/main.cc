// mrpool-nvmf-target: the engine's daemon with NVMe over RDMA plugged in.
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "examples/base/exit_status.h"
#include "examples/engine/daemon.h"
#include "examples/nvmf/target/options.h"
#include "examples/nvmf/target/service.h"

namespace mrpool::nvmf_target {
namespace {

constexpr const char* kProgram = "mrpool-nvmf-target";

class Daemon final : public engine::Application {
 public:
  explicit Daemon(DaemonOptions options)
      : options_(std::move(options)), service_(options_.service) {}

  engine::Service& service() override { return service_.engine(); }

  absl::Status start(std::span<Reactor* const> reactors) override {
    for (Reactor* reactor : reactors) {
      if (absl::Status status = service_.add_worker(*reactor); !status.ok()) return status;
    }
    return options_.config_file.empty() ? service_.apply(options_.config) : apply_file();
  }

  absl::Status reload() override {
    if (!options_.config_file.empty()) return apply_file();
    return absl::FailedPreconditionError("there is nothing to read again without --config");
  }

  void print_served() override {
    for (const auto& subsystem : service_.target().subsystems()) {
      for (const Namespace& ns : subsystem->namespaces()->namespaces) {
        const storage::Geometry& geometry = ns.volume->geometry();
        std::printf("serving %s namespace %u: %s, %llu blocks of %u bytes\n",
                    subsystem->nqn.c_str(), ns.nsid, ns.volume->spec().c_str(),
                    static_cast<unsigned long long>(geometry.blocks), geometry.block_size);
      }
    }
  }

  void add_statistics(engine::Statistics& to) override { service_.add_statistics(to); }

 private:
  absl::Status apply_file() {
    const auto config = read_config(options_.config_file);
    return config.ok() ? service_.apply(*config) : config.status();
  }

  const DaemonOptions options_;
  Service service_;
};

// --check-config: what the daemon would serve, as far as it can be said without opening anything.
int check(const DaemonOptions& options) {
  Config config = options.config;
  if (!options.config_file.empty()) {
    auto read = read_config(options.config_file);
    if (!read.ok()) return engine::fail(kProgram, read.status());
    config = std::move(*read);
  }
  for (const SubsystemConfig& subsystem : config.subsystems) {
    for (const NamespaceConfig& ns : subsystem.namespaces) {
      const absl::Status status = storage::check(ns.storage, {.block_size = ns.block_size});
      if (!status.ok()) return engine::fail(kProgram, status);
    }
  }
  for (const std::string& address : config.listen) {
    std::printf("would listen on %s\n", address.c_str());
  }
  for (const SubsystemConfig& subsystem : config.subsystems) {
    for (const NamespaceConfig& ns : subsystem.namespaces) {
      std::printf("would serve %s namespace %u: %s, blocks of %u bytes\n", subsystem.nqn.c_str(),
                  ns.nsid, ns.storage.c_str(), ns.block_size);
    }
  }
  return base::end_of_output(kProgram, base::kExitOk);
}

}  // namespace
}  // namespace mrpool::nvmf_target

int main(int argc, char** argv) {
  using mrpool::nvmf_target::kProgram;
  mrpool::base::hold_standard_streams();
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  const auto options = mrpool::nvmf_target::parse_arguments(arguments);
  if (!options.ok()) return mrpool::engine::fail(kProgram, options.status());
  if (options->answer) {
    std::fputs(options->answer->c_str(), stdout);
    return mrpool::base::end_of_output(kProgram, 0);
  }
  if (options->check_config) return mrpool::nvmf_target::check(*options);
  return mrpool::engine::run_daemon(kProgram,
                                    std::make_unique<mrpool::nvmf_target::Daemon>(*options));
}
