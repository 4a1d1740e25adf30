#include "examples/engine/options.h"

#include <chrono>

#include "examples/base/command_line.h"

namespace mrpool::engine {

void declare_options(base::CommandLine& program, Options& options) {
  program.count("threads", "workers, a thread each", options.threads,
                {.least = 1, .most = kMaxThreads});
  program.duration("spin", "how long to poll before sleeping", options.spin,
                   {.most = kMaxSpin, .forever = true});
  program.size("staging", "memory of each thread for data under way; commands wait for it",
               options.staging, {.least = kMinStaging, .most = kMaxStaging});
  program.count("mrs", "entries of each device's MR pool; transfers wait for them", options.mrs,
                {.least = 1, .most = kMaxMrs});
  program.flag("force-mr", "register local memory for every transfer, needed or not",
               options.force_mr);
  program.flag("strict-ordering", "switch relaxed ordering off", options.relaxed_ordering, false);
  program.count("max-connections", "of each thread; more are refused", options.max_connections,
                {.least = 1, .most = kMaxConnections});
  program.duration("stall-timeout", "drop a connection whose transfers stand still for so long",
                   options.stall_timeout,
                   {.least = std::chrono::seconds(1), .most = kMaxStallTimeout});
  program.flag("verbose", "report why connections end", options.verbose);
}

}  // namespace mrpool::engine
