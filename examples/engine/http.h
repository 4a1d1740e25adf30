// The daemon's HTTP server: metrics and the status page, at the address of Options::http.
//
// Thread safety: the main thread; the server reads the application on a thread of its own.
// Ownership: destroy the result before the application, and before its workers stop.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "examples/engine/daemon.h"
#include "examples/engine/options.h"
#include "examples/metrics/http_server.h"

namespace mrpool::engine {

// Checks whether a start could serve HTTP: reads the token file, listens on no port.
absl::Status check_http(const Options& options);

// Null if Options::http is empty. Prints the address on stdout. Warns on stderr if other machines
// can read it without a token.
absl::StatusOr<std::unique_ptr<metrics::HttpServer>> serve_http(const char* program,
                                                                const Options& options,
                                                                Application& application);

}  // namespace mrpool::engine
