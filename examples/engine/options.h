// What the engine is told by a daemon's command line or its configuration file.
//
// Thread safety: values. Units: bytes unless the name says otherwise.
#pragma once

#include <cstdint>

#include "examples/engine/limits.h"
#include "mrpool/reactor.h"

namespace mrpool::base {
class CommandLine;
}  // namespace mrpool::base
namespace mrpool::daemon {
class JsonObject;
}  // namespace mrpool::daemon

namespace mrpool::engine {

struct Options {
  uint32_t threads = 1;                // workers
  Nanoseconds spin = kDefaultSpin;     // how long a worker polls before it sleeps
  uint64_t staging = kDefaultStaging;  // of each worker
  uint32_t mrs = kDefaultMrs;          // entries of each device's pool, where the device needs MRs
  bool force_mr = false;               // register local memory for every transfer
  bool relaxed_ordering = true;
  uint32_t max_connections = kDefaultMaxConnections;      // of each worker
  uint64_t max_connection_memory = kMaxConnectionMemory;  // of each worker
  Nanoseconds stall_timeout = kDefaultStallTimeout;
  bool verbose = false;  // report why connections end
};

// Declares the options that all daemons share; they write to `options`, which must outlive parse().
void declare_options(base::CommandLine& program, Options& options);
// Reads the same from a configuration file's outermost object; what is not there stays as it is.
// Values out of range are refused there.
void read_options(daemon::JsonObject& object, Options& options);

}  // namespace mrpool::engine
