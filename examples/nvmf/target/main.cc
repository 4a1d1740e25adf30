// mrpool-nvmf-target: the daemon around Service: threads, signals, and the figures at the end.
#include <pthread.h>
#include <signal.h>

#include <atomic>
#include <cstdio>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "examples/base/exit_status.h"
#include "examples/nvmf/target/options.h"
#include "examples/nvmf/target/service.h"
#include "mrpool/reactor.h"

namespace mrpool::nvmf_target {
namespace {

constexpr const char* kProgram = "mrpool-nvmf-target";

int fail(const absl::Status& status) {
  std::fprintf(stderr, "%s: %s\n", kProgram, std::string(status.message()).c_str());
  return absl::IsInvalidArgument(status) ? 2 : 1;  // 2: what the user wrote, 1: everything else
}

void say_what_is_served(const Service& service, Target& target) {
  for (const std::string& address : service.listening()) {
    std::printf("listening on %s\n", address.c_str());
  }
  for (const auto& subsystem : target.subsystems()) {
    for (const Namespace& ns : subsystem->namespaces()->namespaces) {
      const storage::Geometry& geometry = ns.volume->geometry();
      std::printf("serving %s namespace %u: %s, %llu blocks of %u bytes\n", subsystem->nqn.c_str(),
                  ns.nsid, ns.volume->spec().c_str(),
                  static_cast<unsigned long long>(geometry.blocks), geometry.block_size);
    }
  }
  std::fflush(stdout);
}

void reload(Service& service, const std::string& path) {
  if (path.empty()) {
    std::fprintf(stderr, "SIGHUP: nothing to read again without --config\n");
    return;
  }
  const auto config = read_config(path);
  const absl::Status status = config.ok() ? service.apply(*config) : config.status();
  if (!status.ok()) {
    std::fprintf(stderr, "reload refused, all stays as it was: %s\n",
                 std::string(status.message()).c_str());
    return;
  }
  std::printf("reloaded %s\n", path.c_str());
  say_what_is_served(service, service.target());
}

// The figures of the run; false when an MR or a buffer was not given back.
bool say_figures(const Service& service, Target& target, size_t buffers_missing) {
  for (const auto& subsystem : target.subsystems()) {
    const IoTotals t = subsystem->totals();
    std::printf("%s: %llu reads of %llu bytes, %llu writes of %llu bytes, %llu media errors\n",
                subsystem->nqn.c_str(), static_cast<unsigned long long>(t.reads),
                static_cast<unsigned long long>(t.bytes_read),
                static_cast<unsigned long long>(t.writes),
                static_cast<unsigned long long>(t.bytes_written),
                static_cast<unsigned long long>(t.media_errors));
  }
  bool clean = buffers_missing == 0;
  std::printf("staging buffers in use: %zu\n", buffers_missing);
  for (const Service::PoolFigures& pool : service.pools()) {
    if (!pool.has_pool) {
      std::printf("%s: no MR pool needed\n", pool.device.c_str());
      continue;
    }
    const MrPoolStats& s = pool.stats;
    std::printf(
        "%s: MRs in use: %u of %u (high water %u, gets %llu, exhaustions %llu, waits %llu, "
        "repairs %llu)\n",
        pool.device.c_str(), s.in_use, s.size, s.high_water,
        static_cast<unsigned long long>(s.gets), static_cast<unsigned long long>(s.exhaustions),
        static_cast<unsigned long long>(s.waits), static_cast<unsigned long long>(s.repairs));
    clean = clean && s.in_use == 0;
  }
  std::fflush(stdout);
  return clean;
}

// --check-config: what run() would serve, as far as it can be said without opening anything.
int check(const Config& config) {
  for (const SubsystemConfig& subsystem : config.subsystems) {
    for (const NamespaceConfig& ns : subsystem.namespaces) {
      const absl::Status status = storage::check(ns.storage, {.block_size = ns.block_size});
      if (!status.ok()) return fail(status);
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

int run(const DaemonOptions& options) {
  // Signals are taken by sigwait below; threads made from here on inherit the mask.
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&signals, signal);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGXFSZ, SIG_IGN);  // a file at its limit is that command's error, not our end

  Config config = options.config;
  if (!options.config_file.empty()) {
    auto read = read_config(options.config_file);
    if (!read.ok()) return fail(read.status());
    config = std::move(*read);
  }
  if (options.check_config) return check(config);
  std::vector<std::unique_ptr<Reactor>> reactors;
  Service service(options.service);
  for (uint32_t i = 0; i < options.threads; ++i) {
    auto reactor = Reactor::create({.spin = options.spin});
    if (!reactor.ok()) return fail(reactor.status());
    reactors.push_back(std::move(*reactor));
    if (absl::Status status = service.add_worker(*reactors.back()); !status.ok()) {
      return fail(status);
    }
  }
  if (absl::Status status = service.apply(config); !status.ok()) return fail(status);
  say_what_is_served(service, service.target());

  std::atomic<size_t> buffers_missing{0};
  std::vector<std::thread> threads;
  for (uint32_t i = 0; i < options.threads; ++i) {
    threads.emplace_back([&, i] {
      reactors[i]->run();
      const BufferPool& buffers = service.worker(i).buffers();
      buffers_missing += buffers.total() - buffers.available();
      service.destroy_worker(i);
    });
  }
  // From here on the loops belong to their threads.
  for (uint32_t i = 0; i < options.threads; ++i) {
    std::promise<void> runs;
    service.worker(i).post([&] { runs.set_value(); });
    runs.get_future().wait();
  }
  while (true) {
    int signal = 0;
    sigwait(&signals, &signal);
    if (signal != SIGHUP) break;
    reload(service, options.config_file);
  }
  std::printf("stopping\n");
  std::fflush(stdout);
  service.stop([&] {
    for (const auto& reactor : reactors) reactor->stop();
  });
  for (std::thread& thread : threads) thread.join();
  return say_figures(service, service.target(), buffers_missing) ? 0 : 1;
}

}  // namespace
}  // namespace mrpool::nvmf_target

int main(int argc, char** argv) {
  mrpool::base::hold_standard_streams();
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  const auto options = mrpool::nvmf_target::parse_arguments(arguments);
  if (!options.ok()) return mrpool::nvmf_target::fail(options.status());
  if (options->answer) {
    std::fputs(options->answer->c_str(), stdout);
    return mrpool::base::end_of_output(mrpool::nvmf_target::kProgram, 0);
  }
  return mrpool::nvmf_target::run(*options);
}
