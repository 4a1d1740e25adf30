// The engine's options, from a daemon's command line or its configuration file. The defaults and
// bounds are in examples/engine/limits.h.
//
// Thread safety: values. Units: bytes unless the name has another unit.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "examples/base/core_dump.h"
#include "examples/base/log.h"
#include "examples/engine/call_filter.h"
#include "examples/engine/limits.h"
#include "examples/engine/passed_sockets.h"
#include "examples/gateway/daemon/options.h"
#include "mrpool/reactor.h"

namespace mrpool::base {
class CommandLine;
class JsonObject;
}  // namespace mrpool::base

namespace mrpool::engine {

struct Options {
  uint32_t threads = 1;                // workers
  Nanoseconds spin = kDefaultSpin;     // how long a worker polls before it sleeps
  uint64_t staging = kDefaultStaging;  // of each worker
  uint32_t mrs = kDefaultMrs;          // entries of the MR pool of each device that needs MRs
  bool force_mr = false;               // register local memory for every transfer
  bool relaxed_ordering = true;        // see mrpool/access.h
  uint32_t max_connections = kDefaultMaxConnections;  // of each worker
  // Of each worker: limited by the process's descriptors (process_limits.h); not a user option.
  uint32_t possible_connections = kMaxConnections;
  uint64_t max_connection_memory = kMaxConnectionMemory;  // of each worker
  // Sockets that the service manager opened; not a user option.
  std::shared_ptr<const PassedSockets> sockets{};
  Nanoseconds stall_timeout = kDefaultStallTimeout;
  Nanoseconds storage_timeout = kDefaultStorageTimeout;  // after it a store is reported
  Nanoseconds stop_timeout = kDefaultStopTimeout;        // after it the process exits anyway
  std::string state_dir{};  // for state that outlives the process; empty: none is kept
  std::string control{};    // path of the control socket; empty: no socket
  std::string user{};       // account to switch to once all is open; empty: no switch
  base::CoreDump core_dump = base::CoreDump::kWithoutData;
  CallFilter seccomp = CallFilter::kOff;  // once all is open
  bool retry_listen = false;              // wait for addresses that are not up yet
  bool verbose = false;  // report why connections end: log_level is at least "info"
  base::Severity log_level = base::Severity::kNotice;
  base::LogFormat log_format = base::LogFormat::kAuto;
  gateway::Options gateway{};  // of a group of gateways
  Nanoseconds slow_command =
      kDefaultSlowCommand;        // a request of a store that took longer is logged
  std::string http{};             // address of metrics and status page; empty: not served
  std::string http_token_file{};  // file with their access token; empty: no token
};

// Sets the log format that `arguments` ask for, before they are parsed, so that errors in them have
// it.
void expect_log_format(std::span<const std::string> arguments);
// start_logging() applies the logging options. continue_logging() changes from `before` to `now`,
// which may differ in the level only.
void start_logging(const Options& options);
void continue_logging(const Options& before, const Options& now);

std::string_view name_of(base::CoreDump what);
std::string_view name_of(CallFilter how);

// Declares the options that all daemons share; they write to `options`, which must outlive parse().
void declare_options(base::CommandLine& program, Options& options);
// Reads the same options from the top-level object of a configuration file; missing keys leave
// `options` unchanged. Reports values out of range with their line.
void read_options(base::JsonObject& object, Options& options);

// The configuration keys of the options that differ. Every option must be handled in these three
// functions.
std::vector<std::string> differences(const Options& a, const Options& b);
// For a reload: FailedPrecondition names the keys, because they require a restart; OK if there are
// none.
absl::Status refuse_changes(const std::vector<std::string>& keys);

}  // namespace mrpool::engine
