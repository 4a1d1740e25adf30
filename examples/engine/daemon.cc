#include "examples/engine/daemon.h"

#include <pthread.h>
#include <signal.h>

#include <cstdio>
#include <future>
#include <string>
#include <thread>
#include <vector>

namespace mrpool::engine {
namespace {

using Number = unsigned long long;

// Taken by sigwait; threads made from here on inherit the mask.
sigset_t block_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&signals, signal);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGXFSZ, SIG_IGN);  // a file at its limit is that command's error, not our end
  return signals;
}

void print_served(Application& application) {
  for (const Service::Listening& port : application.service().listening()) {
    std::printf("listening on %s\n", port.address.to_string().c_str());
  }
  application.print_served();
  std::fflush(stdout);
}

void reload(Application& application) {
  if (absl::Status status = application.reload(); !status.ok()) {
    std::fprintf(stderr, "reload refused, all stays as it was: %s\n",
                 std::string(status.message()).c_str());
    return;
  }
  std::printf("reloaded\n");
  print_served(application);
}

void print_devices(const Service& service) {
  for (const DeviceContext* device : service.devices()) {
    const char* name = device->caps().name.c_str();
    if (device->pool() == nullptr) {
      std::printf("%s: no MR pool needed\n", name);
      continue;
    }
    const MrPoolStats stats = device->pool()->stats();
    std::printf(
        "%s: MRs in use: %u of %u (high water %u, gets %llu, exhaustions %llu, waits %llu, "
        "repairs %llu)\n",
        name, stats.in_use, stats.size, stats.high_water, Number(stats.gets),
        Number(stats.exhaustions), Number(stats.waits), Number(stats.repairs));
  }
}

void print_report(Application& application) {
  Service& service = application.service();
  Statistics all;
  service.add_statistics(all);
  application.add_statistics(all);
  uint64_t chunks = 0;
  for (uint32_t i = 0; i < service.workers(); ++i) {
    chunks += *all.find("worker/" + std::to_string(i) + "/staging/in_use");
  }
  std::printf("statistics, zeros left out:\n");
  all.visit([](const std::string& path, uint64_t value) {
    if (value != 0) std::printf("  %s %llu\n", path.c_str(), Number(value));
  });
  std::printf("staging chunks in use: %llu\n", Number(chunks));
  print_devices(service);
  std::fflush(stdout);
}

// Runs each reactor on a thread until stop(), which destroys its worker there.
class Threads {
 public:
  Threads(Service& service, std::span<Reactor* const> reactors) : reactors_(reactors) {
    for (uint32_t i = 0; i < reactors.size(); ++i) {
      threads_.emplace_back([&service, reactor = reactors[i], i] {
        reactor->run();
        service.destroy_worker(i);
      });
    }
    // From here on the loops belong to their threads.
    for (uint32_t i = 0; i < reactors.size(); ++i) {
      std::promise<void> runs;
      service.worker(i).mailbox().post([&] { runs.set_value(); });
      runs.get_future().wait();
    }
  }
  void stop(Service& service) {
    service.stop([this] {
      for (Reactor* reactor : reactors_) reactor->stop();
    });
    for (std::thread& thread : threads_) thread.join();
  }

 private:
  const std::span<Reactor* const> reactors_;
  std::vector<std::thread> threads_;
};

}  // namespace

int fail(const char* program, const absl::Status& status) {
  std::fprintf(stderr, "%s: %s\n", program, std::string(status.message()).c_str());
  return absl::IsInvalidArgument(status) ? 2 : 1;
}

int run_daemon(const char* program, std::unique_ptr<Application> application) {
  const sigset_t signals = block_signals();
  Service& service = application->service();
  std::vector<std::unique_ptr<Reactor>> reactors;
  std::vector<Reactor*> pointers;
  // The application ends before the reactors.
  const std::unique_ptr<Application> owner = std::move(application);
  for (uint32_t i = 0; i < service.options().threads; ++i) {
    auto reactor = Reactor::create({.spin = service.options().spin});
    if (!reactor.ok()) return fail(program, reactor.status());
    reactors.push_back(std::move(*reactor));
    pointers.push_back(reactors.back().get());
  }
  if (absl::Status status = owner->start(pointers); !status.ok()) return fail(program, status);
  print_served(*owner);
  {
    Threads threads(service, pointers);
    while (true) {
      int signal = 0;
      sigwait(&signals, &signal);
      if (signal != SIGHUP) break;
      reload(*owner);
    }
    std::printf("stopping\n");
    std::fflush(stdout);
    threads.stop(service);
  }
  print_report(*owner);
  return service.held() == 0 ? 0 : 1;
}

}  // namespace mrpool::engine
