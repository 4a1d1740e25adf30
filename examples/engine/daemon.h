// The main program of a target daemon: a thread for each worker, signals, reload, stop, and the
// report at the end.
//
// SIGINT and SIGTERM stop it, SIGHUP reloads its configuration. Its stop has a limit
// (Options::stop_timeout), whatever does not answer. The exit status is 0; 1 when it could not
// serve, when an MR or a staging chunk was not given back, or when the limit was reached; 2 when
// what the user wrote is wrong.
// A thread looks at the served stores every few seconds and reports what changed (storage/watch.h).
//
// The main thread runs an io_context: signals, ports that are tried again, the control socket
// (Options::control) with the application's methods, and whatever else joins Administration. What
// may wait is done aside (changes.h).
//
// Thread safety: run_daemon: the main thread, before any other thread has started; it calls the
// application from there, but for stores(), sizes_changed() and observe(), which may be called from
// another thread meanwhile, and steps of changes that are to run aside.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "examples/engine/administration.h"
#include "examples/engine/changes.h"
#include "examples/engine/service.h"
#include "examples/engine/statistics_tree.h"
#include "examples/metrics/snapshot.h"
#include "examples/storage/storage.h"
#include "mrpool/reactor.h"

namespace mrpool::engine {

// What differs from daemon to daemon.
class Application {
 public:
  virtual ~Application() = default;

  virtual Service& service() = 0;
  // Adds a worker to the service for each reactor and serves the configuration. No reactor has a
  // thread yet.
  virtual absl::Status start(std::span<Reactor* const> reactors) = 0;
  // Serves the configuration as it is now; not OK: all stays as it was. Steps that may wait run
  // aside, so that the main loop goes on meanwhile. By default reload() is the one step.
  virtual std::vector<Step> reload_steps();
  virtual absl::Status reload();
  // Adds its methods to the control socket's. `administration` is there while the main loop runs.
  virtual void add_methods(Administration& administration);
  // The service listens on more ports than before.
  virtual void ports_changed() = 0;
  // What is served now.
  virtual std::vector<std::shared_ptr<storage::Volume>> stores() = 0;
  // The sizes of some may be others than the hosts were told: tells them.
  virtual void sizes_changed() = 0;
  // Prints what is served.
  virtual void print_served() = 0;
  // What is served and to whom, by name, so that a reload can report what it changed. The values
  // are compared and not shown: secrets may be among them.
  virtual std::map<std::string, std::string> state() = 0;
  // What the protocol has to show, besides the engine; any one thread, while workers run.
  virtual void observe(metrics::Snapshot& /*to*/) {}
  // What the protocol has counted.
  virtual void add_statistics(Statistics& to) = 0;
};

// "added A, B; removed C; changed D", or "nothing changed".
std::string describe_change(const std::map<std::string, std::string>& before,
                            const std::map<std::string, std::string>& after);

// Prints "PROGRAM: MESSAGE" on stderr; returns the exit status that goes with the error.
int fail(const char* program, const absl::Status& status);

int run_daemon(const char* program, std::unique_ptr<Application> application);

}  // namespace mrpool::engine
