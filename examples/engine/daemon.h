// The main program of a target daemon: a thread for each worker, signals, reload, stop, and the
// report at the end.
//
// SIGINT and SIGTERM stop it, SIGHUP reloads its configuration. The exit status is 0; 1 when it
// could not serve, or when an MR or a staging chunk was not given back; 2 when what the user wrote
// is wrong.
//
// Thread safety: run_daemon: the main thread, before any other thread has started; it calls the
// application from there.
#pragma once

#include <memory>
#include <span>

#include "absl/status/status.h"
#include "examples/engine/service.h"
#include "examples/engine/statistics.h"
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
  // Serves the configuration as it is now; not OK: all stays as it was.
  virtual absl::Status reload() = 0;
  // Prints what is served.
  virtual void print_served() = 0;
  // What the protocol has counted.
  virtual void add_statistics(Statistics& to) = 0;
};

// Prints "PROGRAM: MESSAGE" on stderr; returns the exit status that goes with the error.
int fail(const char* program, const absl::Status& status);

int run_daemon(const char* program, std::unique_ptr<Application> application);

}  // namespace mrpool::engine
