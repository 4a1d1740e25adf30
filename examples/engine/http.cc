#include "examples/engine/http.h"

#include <chrono>
#include <cstdio>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "examples/base/command_line.h"
#include "examples/base/log.h"
#include "examples/engine/privileges.h"

namespace mrpool::engine {
namespace {

uint64_t seconds(std::chrono::nanoseconds time) { return uint64_t(time / std::chrono::seconds(1)); }

metrics::HttpSite::Source source_of(const char* program, Application& application) {
  const uint64_t started = seconds(std::chrono::system_clock::now().time_since_epoch());
  const auto began = std::chrono::steady_clock::now();
  return [program, &application, started, began] {
    metrics::Snapshot snapshot;
    snapshot.program = program;
    snapshot.version = base::version();
    snapshot.started_unix_s = started;
    snapshot.uptime_s = seconds(std::chrono::steady_clock::now() - began);
    application.service().observe(snapshot);
    application.observe(snapshot);
    return snapshot;
  };
}

absl::StatusOr<std::string> token_of(const Options& options) {
  if (options.http_token_file.empty()) return std::string();
  const auto owner = later_user(options.user);
  if (!owner.ok()) return owner.status();
  auto token = metrics::read_token(options.http_token_file, *owner);
  if (token.ok() && options.http.empty()) {
    return absl::InvalidArgumentError(
        "--http-token-file is of no use without --http; add --http 127.0.0.1:9464");
  }
  return token;
}

}  // namespace

absl::Status check_http(const Options& options) { return token_of(options).status(); }

absl::StatusOr<std::unique_ptr<metrics::HttpServer>> serve_http(const char* program,
                                                                const Options& options,
                                                                Application& application) {
  auto token = token_of(options);
  if (!token.ok()) return token.status();
  if (options.http.empty()) return nullptr;
  const auto where = metrics::parse_http_address(options.http);
  if (!where.ok()) return where.status();
  if (!where->loopback && token->empty()) {
    base::log(
        {.event = base::Event::kStatusExposed,
         .message = absl::StrCat(
             program, ": --http ", options.http,
             ": everyone who can reach this address can read the names of hosts and stores; give "
             "--http-token-file, or serve 127.0.0.1 alone")});
  }
  metrics::HttpSite site({.token = *std::move(token), .loopback = where->loopback},
                         source_of(program, application));
  auto server = metrics::HttpServer::start(*where, std::move(site));
  if (!server.ok()) return server.status();
  std::printf("metrics and status at %s\n", (*server)->url().c_str());
  return server;
}

}  // namespace mrpool::engine
