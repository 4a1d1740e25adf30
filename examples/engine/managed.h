// A daemon under a service manager: the state changes it reports, and the privileges it gives up
// once sockets and stores are open.
//
// Thread safety: the main thread. Ownership: the application outlives it; it ends before the
// workers do.
#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "examples/engine/notify.h"
#include "examples/engine/options.h"
#include "examples/engine/supervision.h"

namespace mrpool::engine {

class Application;

class Managed {
 public:
  // From the environment: see Notify::open().
  static absl::StatusOr<std::unique_ptr<Managed>> create(Application& application);

  // Call it when the loops of all workers run.
  void started();
  void reloading();
  // Call it when a reload has ended, with or without success.
  void reloaded();
  // Call it before the workers stop.
  void stopping();

 private:
  Managed(Application& application, Notify notify)
      : application_(application), notify_(std::move(notify)) {}
  std::string health() const;

  Application& application_;
  const Notify notify_;
  std::unique_ptr<Supervision> supervision_;
};

// Switches to Options::user, if it is set. Call it once everything that needs more privileges is
// open.
absl::Status drop_rights(const char* program, const Options& options);
// A hint to append to the message of a reload that failed with `status`, if missing privileges may
// be the cause; else empty.
std::string rights_hint(const Options& options, const absl::Status& status);

}  // namespace mrpool::engine
