#include "examples/engine/options_json.h"

#include <chrono>
#include <string>

#include "absl/strings/str_cat.h"
#include "examples/base/units.h"

namespace mrpool::engine {
namespace {

// Formats a duration without rounding.
std::string exact_duration(Nanoseconds time) {
  if (time == Nanoseconds::max()) return "forever";
  for (const auto& [unit, name] : {std::pair{Nanoseconds(std::chrono::seconds(1)), "s"},
                                   {Nanoseconds(std::chrono::milliseconds(1)), "ms"},
                                   {Nanoseconds(std::chrono::microseconds(1)), "us"}}) {
    if (time % unit == Nanoseconds(0)) return absl::StrCat(time / unit, name);
  }
  return absl::StrCat(time.count(), "ns");
}

}  // namespace

void write_options(const Options& options, boost::json::object& to) {
  const Options defaults;
  const auto plain = [&](const char* key, auto member) {
    if (options.*member != defaults.*member) to[key] = options.*member;
  };
  const auto duration = [&](const char* key, Nanoseconds Options::*member) {
    if (options.*member != defaults.*member) to[key] = exact_duration(options.*member);
  };
  plain("threads", &Options::threads);
  duration("spin", &Options::spin);
  if (options.staging != defaults.staging) to["staging"] = base::exact_size(options.staging);
  plain("mrs", &Options::mrs);
  plain("max_connections", &Options::max_connections);
  plain("force_mr", &Options::force_mr);
  plain("relaxed_ordering", &Options::relaxed_ordering);
  plain("retry_listen", &Options::retry_listen);
  plain("verbose", &Options::verbose);
  plain("user", &Options::user);
  if (options.core_dump != defaults.core_dump) to["core_dump"] = name_of(options.core_dump);
  if (options.seccomp != defaults.seccomp) to["seccomp"] = name_of(options.seccomp);
  if (options.log_level != defaults.log_level) {
    to["log_level"] = base::name_of(options.log_level);
  }
  if (options.log_format != defaults.log_format) {
    to["log_format"] = base::name_of(options.log_format);
  }
  duration("slow_command", &Options::slow_command);
  duration("stall_timeout", &Options::stall_timeout);
  duration("storage_timeout", &Options::storage_timeout);
  duration("stop_timeout", &Options::stop_timeout);
  plain("state_dir", &Options::state_dir);
  gateway::write_options(options.gateway, to);
  plain("control", &Options::control);
  plain("http", &Options::http);
  plain("http_token_file", &Options::http_token_file);
}

}  // namespace mrpool::engine
