// The main program of a target daemon: one thread for each worker, signals, reload, stop, and the
// statistics at the end.
//
// SIGINT and SIGTERM stop it, SIGHUP reloads its configuration. The stop has a time limit
// (Options::stop_timeout), even if a store or a peer does not respond. The exit status is 0 after
// an orderly stop and 2 when the user's input is wrong. It is 1 when it could not serve, an MR or a
// staging chunk was not returned, or the time limit was reached. A thread checks the served stores
// every few seconds and reports changes (storage/watch.h).
//
// The main thread runs an io_context: signals, retries of ports, the control socket
// (Options::control) with the application's methods, and other users of Administration. Operations
// that may block run on a separate thread (changes.h).
//
// Thread safety: call run_daemon on the main thread, before any other thread has started. It calls
// the application on the main thread. Exceptions: other threads may call stores(), sizes_changed()
// and observe() at the same time, and steps with Where::kAside run on another thread.
#pragma once

#include <functional>
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

// The part that differs between the daemons.
class Application {
 public:
  virtual ~Application() = default;

  virtual Service& service() = 0;
  // Adds a worker to the service for each reactor and serves the configuration. The reactors have
  // no threads yet.
  virtual absl::Status start(std::span<Reactor* const> reactors) = 0;
  // Reads the configuration again and serves it; on an error nothing changes. Steps that may block
  // run on a separate thread, so that the main loop continues. By default reload() is the only
  // step.
  virtual std::vector<Step> reload_steps();
  virtual absl::Status reload();
  // Adds the application's methods to the control socket. `administration` is valid while the main
  // loop runs.
  virtual void add_methods(Administration& administration);
  // A signal asks the daemon to stop. It serves until `done` is called, on the main loop.
  virtual void leave(std::function<void()> done) { done(); }
  // The service listens on more ports than before.
  virtual void ports_changed() = 0;
  // The stores that are served now.
  virtual std::vector<std::shared_ptr<storage::Volume>> stores() = 0;
  // Some stores may have changed their size: notifies the hosts.
  virtual void sizes_changed() = 0;
  // Prints what is served.
  virtual void print_served() = 0;
  // What is served and to whom, by name, so that a reload can report its changes. The values are
  // compared but never printed, because they may contain secrets.
  virtual std::map<std::string, std::string> state() = 0;
  // Adds the protocol's part to the engine's snapshot. One thread at a time calls it, while workers
  // run.
  virtual void observe(metrics::Snapshot& /*to*/) {}
  // Adds the protocol's counters.
  virtual void add_statistics(Statistics& to) = 0;
};

// "added A, B; removed C; changed D", or "nothing changed".
std::string describe_change(const std::map<std::string, std::string>& before,
                            const std::map<std::string, std::string>& after);

// Prints "PROGRAM: MESSAGE" on stderr; returns the exit status for this error.
int fail(const char* program, const absl::Status& status);

int run_daemon(const char* program, std::unique_ptr<Application> application);

}  // namespace mrpool::engine
