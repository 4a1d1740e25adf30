// A daemon and its service manager: what that is told of the daemon's life, and the rights that the
// daemon gives up when all is open.
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
  // By the environment: Notify::open().
  static absl::StatusOr<std::unique_ptr<Managed>> create(Application& application);

  // Every worker's loop runs.
  void started();
  void reloading();
  // A reload has come to its end, whichever.
  void reloaded();
  // The workers end from now on.
  void stopping();

 private:
  Managed(Application& application, Notify notify)
      : application_(application), notify_(std::move(notify)) {}
  std::string health() const;

  Application& application_;
  const Notify notify_;
  std::unique_ptr<Supervision> supervision_;
};

// Becomes Options::user, if there is one. All that needs other rights is open.
absl::Status drop_rights(const char* program, const Options& options);
// What a message of a reload that failed with `status` ends with, where rights may be the cause.
std::string rights_hint(const Options& options, const absl::Status& status);

}  // namespace mrpool::engine
