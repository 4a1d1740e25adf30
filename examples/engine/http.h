// The daemon's HTTP server: metrics and the status page, where Options::http says.
//
// Thread safety: the main thread; the server reads the application on its own. Ownership: the
// result ends before the application, and before its workers stop.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "examples/engine/daemon.h"
#include "examples/engine/options.h"
#include "examples/metrics/http_server.h"

namespace mrpool::engine {

// Whether a start could serve it: the token is looked at, nothing is listened on.
absl::Status check_http(const Options& options);

// Null where it is not asked for. Says where it serves on stdout, and on stderr when others than
// this machine may read it without a token.
absl::StatusOr<std::unique_ptr<metrics::HttpServer>> serve_http(const char* program,
                                                                const Options& options,
                                                                Application& application);

}  // namespace mrpool::engine
