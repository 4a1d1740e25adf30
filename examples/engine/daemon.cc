#include "examples/engine/daemon.h"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstdio>
#include <future>
#include <latch>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "examples/base/descriptor_limit.h"
#include "examples/base/log.h"
#include "examples/base/log_thread.h"
#include "examples/control/server.h"
#include "examples/engine/http.h"
#include "examples/engine/managed.h"
#include "examples/engine/portals.h"
#include "examples/engine/signals.h"
#include "examples/storage/watch.h"

namespace mrpool::engine {

namespace asio = boost::asio;

namespace {

using Number = unsigned long long;

std::string said(const absl::Status& status) {
  return base::name_missing_descriptors(std::string(status.message()));
}

void print_served(Application& application) {
  for (const Service::Listening& port : application.service().listening()) {
    std::printf("listening on %s\n", port.address.to_string().c_str());
  }
  for (const Service::WaitingPort& port : application.service().waiting_ports()) {
    std::printf("not yet listening on %s: %s\n", port.address.c_str(), port.why.c_str());
  }
  application.print_served();
  std::fflush(stdout);
}

// The state of the application, with the listening ports.
std::map<std::string, std::string> state_of(Application& application) {
  std::map<std::string, std::string> state = application.state();
  for (const Service::Listening& port : application.service().listening()) {
    state.emplace("listening on " + port.address.to_string(), "");
  }
  for (const Service::WaitingPort& port : application.service().waiting_ports()) {
    state.emplace("waiting for " + port.address, "");
  }
  return state;
}

// Logs an event that stdout already has as text.
void log_life(base::Event event, const std::string& message) {
  if (base::log_format() != base::LogFormat::kText) base::log({.event = event, .message = message});
}

void report_overdue(Nanoseconds limit, const Stores& stores) {
  std::string waited_for;
  for (const std::string& store : stores.hung()) waited_for += "; " + store + " does not answer";
  base::log({.event = base::Event::kStopOverdue,
             .message = absl::StrCat("not stopped after ", limit / std::chrono::seconds(1), " s",
                                     waited_for, "; ending all the same")});
  base::flush_log();
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

// The loop of the main thread, which runs until a signal stops it.
class MainLoop {
 public:
  MainLoop(const char* program, asio::io_context& loop, Application& application, Managed& managed)
      : application_(application), managed_(managed), loop_(loop) {
    control::add_common_methods(methods_, program);
    application.add_methods(administration_);
  }
  // Listens on the control socket, if it is configured.
  absl::Status open_control() {
    const std::string& path = application_.service().options().control;
    if (path.empty()) return absl::OkStatus();
    auto server = control::Server::create(loop_, methods_, path, {});
    if (!server.ok()) {
      return absl::Status(server.status().code(),
                          absl::StrCat("--control: ", server.status().message()));
    }
    control_ = *std::move(server);
    return absl::OkStatus();
  }
  // Runs until a signal stops it.
  void run() {
    const auto guard = asio::make_work_guard(loop_);
    retry_ports_later();
    loop_.run();
    control_.reset();
    changes_.stop();
  }
  void reload() {
    managed_.reloading();
    std::vector<Step> steps = application_.reload_steps();
    const auto before = std::make_shared<std::map<std::string, std::string>>();
    steps.insert(steps.begin(), Step{.run = [this, before] {
                   *before = state_of(application_);
                   return absl::OkStatus();
                 }});
    changes_.add(std::move(steps), [this, before](const absl::Status& status) {
      managed_.reloaded();
      if (!status.ok()) {
        base::log({.event = base::Event::kReloadRefused,
                   .message = absl::StrCat("reload refused, nothing changed: ", said(status),
                                           rights_hint(application_.service().options(), status))});
        return;
      }
      const std::string change = describe_change(*before, state_of(application_));
      std::printf("reloaded: %s\n", change.c_str());
      print_served(application_);
      log_life(base::Event::kReloaded, absl::StrCat("reloaded: ", change));
    });
  }

 private:
  // Runs periodically while ports wait.
  void retry_ports_later() {
    if (application_.service().waiting_ports().empty()) return;
    retry_.expires_after(kListenRetry);
    retry_.async_wait([this](boost::system::error_code error) {
      if (!error) retry_ports();
    });
  }
  void retry_ports() {
    // A running change may open them.
    if (changes_.busy()) return retry_ports_later();
    const auto resolved = std::make_shared<ResolvedHosts>();
    std::vector<Step> steps;
    steps.push_back(
        {Step::Where::kAside, [resolved, hosts = application_.service().waiting_hosts()] {
           *resolved = resolve_hosts(hosts);
           return absl::OkStatus();
         }});
    steps.push_back({.run = [this, resolved] {
      if (application_.service().retry_ports(*resolved)) {
        application_.ports_changed();
        print_served(application_);
      }
      return absl::OkStatus();
    }});
    changes_.add(std::move(steps), [](const absl::Status&) {});
  }

  Application& application_;
  Managed& managed_;
  asio::io_context& loop_;
  Changes changes_{loop_, [this] { retry_ports_later(); }};
  control::Methods methods_;
  Administration administration_{loop_, changes_, methods_};
  asio::steady_timer retry_{loop_};
  std::unique_ptr<control::Server> control_;
};

// Runs each reactor on a thread until stop(), which destroys its worker there.
class Threads {
 public:
  // Throws std::system_error if the process may have no more threads; no loop has run then.
  Threads(Service& service, std::span<Reactor* const> reactors)
      : reactors_(reactors), running_(ptrdiff_t(reactors.size())) {
    std::promise<bool> all_there;
    const std::shared_future<bool> begins = all_there.get_future().share();
    try {
      for (uint32_t i = 0; i < reactors.size(); ++i) {
        threads_.emplace_back([this, &service, i, begins] {
          if (begins.get()) run(service, i);
        });
      }
    } catch (const std::system_error&) {
      all_there.set_value(false);
      join();
      throw;
    }
    all_there.set_value(true);
    // From now on the loops belong to their threads.
    for (uint32_t i = 0; i < reactors.size(); ++i) {
      std::promise<void> runs;
      service.worker(i).mailbox().post([&] { runs.set_value(); });
      runs.get_future().wait();
    }
  }
  ~Threads() { end(); }
  void stop(Service& service) {
    service.stop([this] { stop_reactors(); });
    join();
  }

 private:
  void run(Service& service, uint32_t index) {
    reactors_[index]->run();
    // Waits, because another running worker may still send this one a message.
    running_.arrive_and_wait();
    service.destroy_worker(index);
  }
  void stop_reactors() {
    for (Reactor* reactor : reactors_) reactor->stop();
  }
  void join() {
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }
  // Stops the loops immediately.
  void end() {
    if (threads_.empty()) return;
    stop_reactors();
    join();
  }

  const std::span<Reactor* const> reactors_;
  std::latch running_;
  std::vector<std::thread> threads_;
};

std::unique_ptr<storage::StoreWatch> watch_stores(const char* program, Application& application) {
  return std::make_unique<storage::StoreWatch>(
      kStoreWatch, [&application] { return application.stores(); },
      [program, &application](std::span<const std::string> lines) {
        application.sizes_changed();  // before the lines are printed
        for (const std::string& line : lines) {
          base::log(
              {.event = base::Event::kStoreChanged, .message = absl::StrCat(program, ": ", line)});
        }
      });
}

}  // namespace

std::string describe_change(const std::map<std::string, std::string>& before,
                            const std::map<std::string, std::string>& after) {
  std::vector<std::string> added, removed, changed;
  for (const auto& [name, value] : after) {
    const auto was = before.find(name);
    if (was == before.end()) added.push_back(name);
    if (was != before.end() && was->second != value) changed.push_back(name);
  }
  for (const auto& [name, value] : before) {
    if (!after.contains(name)) removed.push_back(name);
  }
  std::string text;
  const auto list = [&text](const char* what, const std::vector<std::string>& names) {
    if (names.empty()) return;
    absl::StrAppend(&text, text.empty() ? "" : "; ", what, " ", absl::StrJoin(names, ", "));
  };
  list("added", added);
  list("removed", removed);
  list("changed", changed);
  return text.empty() ? "nothing changed" : text;
}

std::vector<Step> Application::reload_steps() {
  std::vector<Step> steps;
  steps.push_back({.run = [this] { return reload(); }});
  return steps;
}

absl::Status Application::reload() { return absl::UnimplementedError("there is no reload"); }

void Application::add_methods(Administration&) {}

int fail(const char* program, const absl::Status& status) {
  base::log(
      {.event = base::Event::kStartFailed, .message = absl::StrCat(program, ": ", said(status))});
  base::flush_log();
  return absl::IsInvalidArgument(status) ? 2 : 1;
}

namespace {

// Throws std::system_error if the process may have no more threads.
int serve(const char* program, std::unique_ptr<Application> application) {
  Service& service = application->service();
  const Nanoseconds stop_timeout = service.options().stop_timeout;
  asio::io_context loop(1);
  MainLoop* told = nullptr;  // set when the loop runs
  Application* const leaving = application.get();
  // Destroyed last, because the others may wait for storage.
  Signals signals(
      stop_timeout,
      [stop_timeout, stores = service.stores()] { report_overdue(stop_timeout, *stores); },
      [&](Signals::Event event) {
        asio::post(loop, [&, event] {
          if (event == Signals::Event::kStop) return leaving->leave([&loop] { loop.stop(); });
          signals.take_reload();
          told->reload();
        });
      });
  std::vector<std::unique_ptr<Reactor>> reactors;
  std::vector<Reactor*> pointers;
  // The application ends before the reactors, and the main loop before the application.
  const std::unique_ptr<Application> owner = std::move(application);
  const auto managed = Managed::create(*owner);
  if (!managed.ok()) return fail(program, managed.status());
  MainLoop main(program, loop, *owner, **managed);
  told = &main;
  if (absl::Status status = main.open_control(); !status.ok()) return fail(program, status);
  for (uint32_t i = 0; i < service.options().threads; ++i) {
    auto reactor = Reactor::create({.spin = service.options().spin});
    if (!reactor.ok()) return fail(program, reactor.status());
    reactors.push_back(std::move(*reactor));
    pointers.push_back(reactors.back().get());
  }
  if (absl::Status status = owner->start(pointers); !status.ok()) return fail(program, status);
  auto http = serve_http(program, service.options(), *owner);
  if (!http.ok()) return fail(program, http.status());
  if (absl::Status status = drop_rights(program, service.options()); !status.ok()) {
    return fail(program, status);
  }
  if (absl::Status status = filter_calls(service.options().seccomp); !status.ok()) {
    return fail(program, status);
  }
  signals.started();
  print_served(*owner);
  log_life(base::Event::kStarted, absl::StrCat(program, " serves"));
  {
    auto watch = watch_stores(program, *owner);
    Threads threads(service, pointers);
    (*managed)->started();
    main.run();
    (*managed)->stopping();
    std::printf("stopping\n");
    std::fflush(stdout);
    log_life(base::Event::kStopping, "stopping");
    watch.reset();
    http->reset();  // the data it reads is destroyed next
    threads.stop(service);
  }
  print_report(*owner);
  return service.held() == 0 ? 0 : 1;
}

}  // namespace

int run_daemon(const char* program, std::unique_ptr<Application> application) {
  Signals::block();
  try {
    return serve(program, std::move(application));
  } catch (const std::system_error& error) {
    return fail(program, absl::ResourceExhaustedError(absl::StrCat(
                             "no thread can be started: ", error.code().message(),
                             "; raise the limit of processes (ulimit -u, pids.max of the "
                             "container), or ask for fewer threads")));
  }
}

}  // namespace mrpool::engine
