#include "examples/engine/managed.h"

#include <unistd.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "examples/base/log.h"
#include "examples/base/printable.h"
#include "examples/engine/daemon.h"
#include "examples/engine/limits.h"
#include "examples/engine/privileges.h"

namespace mrpool::engine {

absl::StatusOr<std::unique_ptr<Managed>> Managed::create(Application& application) {
  auto notify = Notify::open();
  if (!notify.ok()) return notify.status();
  return std::unique_ptr<Managed>(new Managed(application, *std::move(notify)));
}

std::string Managed::health() const {
  const Service& service = application_.service();
  std::string text = absl::StrCat(service.connections(), " connections, ",
                                  application_.stores().size(), " stores");
  const std::vector<std::string> hung = service.stores()->hung();
  for (const std::string& store : hung) {
    absl::StrAppend(&text, "; ", base::printable(store), " does not answer");
  }
  return text;
}

void Managed::started() {
  if (!notify_.there()) return;
  notify_.ready(health());
  Service& service = application_.service();
  supervision_ = std::make_unique<Supervision>(
      notify_, service.workers(),
      [&service](uint32_t worker, std::function<void()> message) {
        service.worker(worker).mailbox().post(std::move(message));
      },
      [this] { return health(); });
}

void Managed::reloading() { notify_.reloading(); }

void Managed::reloaded() {
  if (notify_.there()) notify_.ready(health());
}

void Managed::stopping() {
  notify_.stopping(application_.service().options().stop_timeout + kStopReport);
  supervision_.reset();
}

absl::Status drop_rights(const char* program, const Options& options) {
  if (options.user.empty()) return absl::OkStatus();
  const auto account = find_account(options.user);
  if (!account.ok()) return account.status();
  if (absl::Status status = drop_to(*account); !status.ok()) return status;
  const std::string& state = options.state_dir;
  if (!state.empty() && ::access(state.c_str(), W_OK | X_OK) != 0) {
    return unwritable_state(state, account->name);
  }
  base::log({.event = base::Event::kPrivilegesDropped,
             .message = absl::StrCat(program, ": runs as ", account->name, " from now on")});
  return absl::OkStatus();
}

std::string rights_hint(const Options& options, const absl::Status& status) {
  if (options.user.empty() || !absl::StrContains(status.message(), "ermission denied")) return {};
  return absl::StrCat("; the daemon runs as ", options.user,
                      ", which must be able to read the file and to open its stores");
}

}  // namespace mrpool::engine
