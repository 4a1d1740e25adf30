// What the engine is told by a daemon's command line or its configuration file. The defaults and
// bounds are in examples/engine/limits.h.
//
// Thread safety: values. Units: bytes unless the name says otherwise.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "examples/base/core_dump.h"
#include "examples/base/log.h"
#include "examples/engine/call_filter.h"
#include "examples/engine/limits.h"
#include "examples/engine/passed_sockets.h"
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
  uint32_t mrs = kDefaultMrs;          // entries of each device's pool, where the device needs MRs
  bool force_mr = false;               // register local memory for every transfer
  bool relaxed_ordering = true;        // of the library: mrpool/access.h
  uint32_t max_connections = kDefaultMaxConnections;  // of each worker
  // Of each worker: what the process has descriptors for (process_limits.h); no option.
  uint32_t possible_connections = kMaxConnections;
  uint64_t max_connection_memory = kMaxConnectionMemory;  // of each worker
  // What the service manager has opened; no option.
  std::shared_ptr<const PassedSockets> sockets{};
  Nanoseconds stall_timeout = kDefaultStallTimeout;
  Nanoseconds storage_timeout = kDefaultStorageTimeout;  // then a store is reported
  Nanoseconds stop_timeout = kDefaultStopTimeout;        // then the process ends all the same
  std::string state_dir{};  // where what outlives the process is kept; empty: nowhere
  std::string control{};    // where the control socket is; empty: there is none
  std::string user{};       // who the daemon becomes once all is open; empty: who it is
  base::CoreDump core_dump = base::CoreDump::kWithoutData;
  CallFilter seccomp = CallFilter::kOff;  // once all is open
  bool retry_listen = false;              // an address that is not up yet is waited for
  bool verbose = false;  // report why connections end: log_level is "info" at least
  base::Severity log_level = base::Severity::kNotice;
  base::LogFormat log_format = base::LogFormat::kAuto;
  Nanoseconds slow_command =
      kDefaultSlowCommand;        // a request of a store that took longer is logged
  std::string http{};             // where metrics and the status page are served; empty: nowhere
  std::string http_token_file{};  // of what they ask for; empty: nothing
};

// Logs as they say from now on; `before`: what was in force, of which only the level can change.
void start_logging(const Options& options);
void continue_logging(const Options& before, const Options& now);

std::string_view name_of(base::CoreDump what);
std::string_view name_of(CallFilter how);

// Declares the options that all daemons share; they write to `options`, which must outlive parse().
void declare_options(base::CommandLine& program, Options& options);
// Reads the same from a configuration file's outermost object; what is not there stays as it is.
// Values out of range are refused there.
void read_options(base::JsonObject& object, Options& options);

// The keys in which they differ, as a configuration file has them. An option is in all three.
std::vector<std::string> differences(const Options& a, const Options& b);
// For a reload: FailedPrecondition names the keys, which only a start can change; OK without any.
absl::Status refuse_changes(const std::vector<std::string>& keys);

}  // namespace mrpool::engine
