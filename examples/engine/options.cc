#include "examples/engine/options.h"

#include <algorithm>
#include <chrono>
#include <span>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "examples/base/command_line.h"
#include "examples/base/json_object.h"
#include "examples/base/units.h"
#include "examples/control/socket_file.h"
#include "examples/metrics/http_options.h"

namespace mrpool::engine {
namespace {

// The range of each option, on the command line and in a file.
constexpr base::Range kThreads{.least = 1, .most = kMaxThreads};
constexpr base::DurationRange kSpin{.most = kMaxSpin, .forever = true};
constexpr base::Range kStaging{.least = kMinStaging, .most = kMaxStaging};
constexpr base::Range kMrs{.least = 1, .most = kMaxMrs};
constexpr base::Range kConnections{.least = 1, .most = kMaxConnections};
constexpr base::DurationRange kStall{.least = std::chrono::seconds(1), .most = kMaxStallTimeout};
constexpr base::DurationRange kStorage{.least = std::chrono::seconds(1),
                                       .most = kMaxStorageTimeout};
constexpr base::DurationRange kStop{.least = std::chrono::seconds(1), .most = kMaxStopTimeout};

constexpr base::DurationRange kSlow{
    .least = std::chrono::milliseconds(1), .most = kMaxSlowCommand, .forever = true};

const std::vector<std::pair<std::string, base::LogFormat>> kFormats = {
    {"auto", base::LogFormat::kAuto},
    {"text", base::LogFormat::kText},
    {"json", base::LogFormat::kJson},
    {"journal", base::LogFormat::kJournal}};
const std::vector<std::pair<std::string, base::CoreDump>> kCoreDumps = {
    {"none", base::CoreDump::kNone},
    {"without-data", base::CoreDump::kWithoutData},
    {"full", base::CoreDump::kFull}};
const std::vector<std::pair<std::string, CallFilter>> kCallFilters = {
    {"off", CallFilter::kOff}, {"log", CallFilter::kLog}, {"enforce", CallFilter::kEnforce}};
const std::vector<std::pair<std::string, base::Severity>> kSeverities = {
    {"error", base::Severity::kError},
    {"warning", base::Severity::kWarning},
    {"notice", base::Severity::kNotice},
    {"info", base::Severity::kInfo},
    {"debug", base::Severity::kDebug}};

// Parses one of several words.
template <typename T>
void read_choice(base::JsonObject& object, std::string_view key, T& to,
                 const std::vector<std::pair<std::string, T>>& values) {
  std::string text;
  object.text(key, text);
  if (!object.has(key)) return;
  std::vector<std::string> names;
  for (const auto& [name, value] : values) {
    if (name == text) {
      to = value;
      return;
    }
    names.push_back(name);
  }
  object.refuse(key, absl::StrCat("\"", text, "\" is none of ", absl::StrJoin(names, ", ")));
}

base::Severity level_of(const Options& options) {
  return options.verbose ? std::max(options.log_level, base::Severity::kInfo) : options.log_level;
}

}  // namespace

std::string_view name_of(base::CoreDump what) {
  return std::ranges::find(kCoreDumps, what, &std::pair<std::string, base::CoreDump>::second)
      ->first;
}

std::string_view name_of(CallFilter how) {
  return std::ranges::find(kCallFilters, how, &std::pair<std::string, CallFilter>::second)->first;
}

void expect_log_format(std::span<const std::string> arguments) {
  base::LogFormat format = base::LogFormat::kAuto;
  for (size_t i = 0; i < arguments.size(); ++i) {
    std::string_view text = arguments[i];
    constexpr std::string_view kOption = "--log-format";
    if (!text.starts_with(kOption)) continue;
    text.remove_prefix(kOption.size());
    if (text.empty() && i + 1 < arguments.size()) {
      text = arguments[i + 1];
    } else if (text.starts_with('=')) {
      text.remove_prefix(1);
    }
    for (const auto& [name, value] : kFormats) {
      if (name == text) format = value;
    }
  }
  base::set_log_format(format);
}

void start_logging(const Options& options) {
  base::set_log_format(options.log_format);
  base::set_log_severity(level_of(options));
}

void continue_logging(const Options& before, const Options& now) {
  // A level that was set at run time stays unless the file changes it.
  if (level_of(before) != level_of(now)) base::set_log_severity(level_of(now));
}

void declare_options(base::CommandLine& program, Options& options) {
  program.count("threads", "worker threads", options.threads, kThreads);
  program.duration("spin", "how long to poll before sleeping", options.spin, kSpin);
  program.size("staging", "memory of each thread for data in transfer; commands wait for it",
               options.staging, kStaging);
  program.count("mrs", "entries of each device's MR pool; transfers wait for them", options.mrs,
                kMrs);
  program.flag("force-mr", "register local memory for every transfer, needed or not",
               options.force_mr);
  program.flag("strict-ordering", "switch relaxed ordering off", options.relaxed_ordering, false);
  program.count("max-connections", "of each thread; more are refused", options.max_connections,
                kConnections);
  program.duration("stall-timeout", "drop a connection with a transfer that takes longer",
                   options.stall_timeout, kStall);
  program.flag("retry-listen", "retry each second to listen on an address that is not up yet",
               options.retry_listen);
  program.duration("storage-timeout", "report a store that does not answer for this long",
                   options.storage_timeout, kStorage);
  program.duration("stop-timeout", "time limit of a stop, even with I/O outstanding",
                   options.stop_timeout, kStop);
  program.text("state-dir", "DIR",
               "directory for UUIDs of stores and other state that outlives the daemon",
               options.state_dir);
  program.option("control", "PATH",
                 "accept commands on this Unix socket: JSON-RPC, as SPDK's rpc.py sends it",
                 [&options](std::string_view path) {
                   options.control = path;
                   return control::check_socket_path(options.control);
                 });
  program.option("http", "HOST:PORT",
                 "serve metrics and a status page there, as 127.0.0.1:9464 (default: not served)",
                 [&options](std::string_view text) {
                   options.http = text;
                   return metrics::parse_http_address(text).status();
                 });
  program.text("http-token-file", "FILE",
               "file with the bearer token that --http requires; mode 600, or credential:NAME",
               options.http_token_file);
  program.text(
      "user", "NAME[:GROUP]",
      "user to switch to, without privileges, once sockets and stores are open; if root starts it",
      options.user);
  program.choice("core-dump", "content of a core dump: without-data omits memory with hosts' data",
                 options.core_dump, kCoreDumps);
  program.choice("seccomp",
                 "the kernel refuses system calls that serving does not need, or logs them",
                 options.seccomp, kCallFilters);
  program.implies("enforce");
  program.flag("verbose", "report why connections end; the same as --log-level info",
               options.verbose);
  program.choice("log-level", "lowest level that is logged on stderr", options.log_level,
                 kSeverities);
  program.choice(
      "log-format",
      "format of the log on stderr; auto: journal if stderr is systemd's journal, else text",
      options.log_format, kFormats);
  program.duration("slow-command", "report a store with a request that took longer",
                   options.slow_command, kSlow);
}

namespace {

// Reads the addresses for administration.
void read_places(base::JsonObject& object, Options& options) {
  const auto refuse = [&object](std::string_view key, const absl::Status& status) {
    if (!status.ok()) object.refuse(key, std::string(status.message()));
  };
  object.text("control", options.control);
  if (!options.control.empty()) {
    refuse("control", control::check_socket_path(options.control));
  }
  object.text("http", options.http);
  if (!options.http.empty()) {
    refuse("http", metrics::parse_http_address(options.http).status());
  }
  object.text("http_token_file", options.http_token_file);
}

}  // namespace

void read_options(base::JsonObject& object, Options& options) {
  object.number("threads", options.threads, kThreads);
  object.duration("spin", options.spin, kSpin);
  object.size("staging", options.staging, kStaging);
  object.number("mrs", options.mrs, kMrs);
  object.number("max_connections", options.max_connections, kConnections);
  object.flag("force_mr", options.force_mr);
  object.flag("relaxed_ordering", options.relaxed_ordering);
  object.flag("retry_listen", options.retry_listen);
  object.flag("verbose", options.verbose);
  read_choice(object, "log_level", options.log_level, kSeverities);
  read_choice(object, "log_format", options.log_format, kFormats);
  object.duration("slow_command", options.slow_command, kSlow);
  object.duration("stall_timeout", options.stall_timeout, kStall);
  object.duration("storage_timeout", options.storage_timeout, kStorage);
  object.duration("stop_timeout", options.stop_timeout, kStop);
  object.text("state_dir", options.state_dir);
  object.text("user", options.user);
  read_choice(object, "core_dump", options.core_dump, kCoreDumps);
  read_choice(object, "seccomp", options.seccomp, kCallFilters);
  read_places(object, options);
  gateway::read_options(object, options.gateway);
}

std::vector<std::string> differences(const Options& a, const Options& b) {
  std::vector<std::string> keys;
  const auto compare = [&](const char* key, auto member) {
    if (a.*member != b.*member) keys.emplace_back(key);
  };
  compare("threads", &Options::threads);
  compare("spin", &Options::spin);
  compare("staging", &Options::staging);
  compare("mrs", &Options::mrs);
  compare("force_mr", &Options::force_mr);
  compare("relaxed_ordering", &Options::relaxed_ordering);
  compare("max_connections", &Options::max_connections);
  compare("stall_timeout", &Options::stall_timeout);
  compare("retry_listen", &Options::retry_listen);
  compare("storage_timeout", &Options::storage_timeout);
  compare("stop_timeout", &Options::stop_timeout);
  compare("log_format", &Options::log_format);
  compare("slow_command", &Options::slow_command);
  compare("state_dir", &Options::state_dir);
  compare("gateway_group", &Options::gateway);
  compare("control", &Options::control);
  compare("http", &Options::http);
  compare("http_token_file", &Options::http_token_file);
  compare("user", &Options::user);
  compare("core_dump", &Options::core_dump);
  compare("seccomp", &Options::seccomp);
  return keys;
}

absl::Status refuse_changes(const std::vector<std::string>& keys) {
  if (keys.empty()) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat(absl::StrJoin(keys, ", "),
                   " cannot change while the daemon runs; restart it, or restore the old value"));
}

}  // namespace mrpool::engine
