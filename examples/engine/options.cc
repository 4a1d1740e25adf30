#include "examples/engine/options.h"

#include <chrono>

#include "absl/strings/str_cat.h"
#include "examples/base/command_line.h"
#include "examples/base/json_object.h"
#include "examples/base/units.h"

namespace mrpool::engine {
namespace {

void read_staging(daemon::JsonObject& object, uint64_t& to) {
  std::string written;
  object.text("staging", written);
  if (written.empty()) return;
  const absl::StatusOr<uint64_t> bytes = base::parse_size(written);
  if (!bytes.ok()) return object.refuse("staging", std::string(bytes.status().message()));
  to = *bytes;
  if (to < kMinStaging || to > kMaxStaging) {
    object.refuse("staging", absl::StrCat(written, " is not between ", kMinStaging >> 20,
                                          "MiB, one claim of the largest size, and ",
                                          kMaxStaging >> 20, "MiB"));
  }
}

void read_count(daemon::JsonObject& object, const char* key, uint32_t most, uint32_t& to) {
  object.number(key, to);
  if (to > most) object.refuse(key, absl::StrCat(to, " is above ", most));
}

}  // namespace

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

void read_options(daemon::JsonObject& object, Options& options) {
  read_staging(object, options.staging);
  read_count(object, "threads", kMaxThreads, options.threads);
  read_count(object, "mrs", kMaxMrs, options.mrs);
  read_count(object, "max_connections", kMaxConnections, options.max_connections);
  object.flag("force_mr", options.force_mr);
  object.flag("relaxed_ordering", options.relaxed_ordering);
  object.flag("verbose", options.verbose);
  uint32_t stall = 0;  // seconds
  read_count(object, "stall_timeout", uint32_t(kMaxStallTimeout / std::chrono::seconds(1)), stall);
  if (stall != 0) options.stall_timeout = std::chrono::seconds(stall);
}

}  // namespace mrpool::engine
