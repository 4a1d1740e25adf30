#include "examples/engine/start.h"

#include "examples/base/core_dump.h"
#include "examples/base/exit_status.h"
#include "examples/engine/check_start.h"
#include "examples/engine/passed_sockets.h"
#include "examples/engine/privileges.h"
#include "examples/engine/process_limits.h"
#include "examples/engine/signals.h"

namespace mrpool::engine {

std::vector<std::string> begin_process(int argc, char** argv) {
  base::hold_standard_streams();
  Signals::hold_reloads();
  std::vector<std::string> arguments(argv + 1, argv + argc);
  expect_log_format(arguments);
  return arguments;
}

absl::Status prepare_process(const char* program, std::span<const std::string> listen,
                             std::span<const storage::WantedStore> stores, Options& options) {
  base::set_core_dump(options.core_dump);
  if (!options.user.empty()) {
    if (const auto account = find_account(options.user); !account.ok()) return account.status();
    if (absl::Status status = give_up_gains(); !status.ok()) return status;
  }
  // From now on a thread may write the log.
  start_logging(options);
  if (absl::Status status = take_passed_sockets(listen, options); !status.ok()) return status;
  warn_of_memory(program, stores);
  fit_to_process(program, listen, stores.size(), options);
  return absl::OkStatus();
}

}  // namespace mrpool::engine
