#include "examples/engine/check_start.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>

#include "absl/strings/str_cat.h"
#include "examples/base/log.h"
#include "examples/engine/http.h"
#include "examples/engine/listen.h"
#include "examples/engine/privileges.h"
#include "examples/storage/state_directory.h"

namespace mrpool::engine {

namespace {

// With the permissions of the user that the daemon will have.
absl::Status check_state_access(const Options& options) {
  const auto user = later_user(options.user);
  if (!user.ok()) return user.status();
  if (options.state_dir.empty() || !user->is_other()) return absl::OkStatus();
  const base::ActAs as(*user);
  if (!as.status().ok()) return as.status();
  if (::faccessat(AT_FDCWD, options.state_dir.c_str(), W_OK | X_OK, AT_EACCESS) == 0) {
    return absl::OkStatus();
  }
  return unwritable_state(options.state_dir, user->name);
}

}  // namespace

absl::Status check_start(const char* program, std::span<const std::string> listen,
                         std::span<const storage::WantedStore> stores, const Options& options) {
  absl::Status status = storage::StateDirectory::check(options.state_dir);
  if (status.ok()) status = storage::check_stores(stores);
  if (status.ok() && !options.state_dir.empty()) {
    const auto state = storage::StateDirectory::look(options.state_dir);
    status = state.ok() ? storage::check_not_gone(stores, state->get()) : state.status();
  }
  if (status.ok()) status = check_http(options);
  if (status.ok() && !options.user.empty()) status = find_account(options.user).status();
  if (status.ok()) status = check_state_access(options);
  if (status.ok()) status = check_devices(listen, options.retry_listen);
  // For every cause, the user must change the configuration.
  if (!status.ok()) return absl::InvalidArgumentError(status.message());
  warn_of_memory(program, stores);
  return absl::OkStatus();
}

void print_files_to_make(std::span<const storage::WantedStore> stores) {
  for (const std::string& file : storage::files_to_make(stores)) {
    std::printf("would create %s\n", file.c_str());
  }
}

void warn_of_memory(const char* program, std::span<const storage::WantedStore> stores) {
  const auto warning = storage::memory_warning(stores, storage::physical_memory());
  if (!warning) return;
  base::log({.event = base::Event::kMemoryShort, .message = absl::StrCat(program, ": ", *warning)});
}

void warn_of_unsaved(const char* program, uint64_t changes) {
  if (changes == 0) return;
  base::log({.event = base::Event::kChangesLost,
             .message = absl::StrCat(program, ": the file takes the place of ", changes,
                                     " changes that were not saved")});
}

}  // namespace mrpool::engine
