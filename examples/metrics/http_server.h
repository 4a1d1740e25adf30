// An HTTP/1.1 server for a daemon's metrics and status page, on a separate thread.
//
// Limits protect the daemon from clients. There are at most kMaxClients connections; further ones
// are closed immediately. A request has at most kMaxRequest bytes and no body. Each request and
// each reply has a time limit, so that slow clients are dropped.
//
// Thread safety: the owner's thread; it calls the source on the server's thread. Ownership: owns
// its thread, and the destructor joins it.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "examples/metrics/http_options.h"
#include "examples/metrics/http_reply.h"

namespace mrpool::metrics {

inline constexpr size_t kMaxClients = 64;
inline constexpr uint32_t kMaxRequest = 8 << 10;
// The time for a request, from the connection or the previous reply to its end.
inline constexpr std::chrono::seconds kRequestPatience{20};
inline constexpr std::chrono::seconds kReplyPatience{10};

class HttpServer {
 public:
  // `request_patience`: for tests.
  static absl::StatusOr<std::unique_ptr<HttpServer>> start(
      const HttpEndpoint& where, HttpSite site,
      std::chrono::milliseconds request_patience = kRequestPatience);
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  // "http://127.0.0.1:9464/", with the assigned port if 0 was requested.
  std::string url() const;

 private:
  struct Impl;
  explicit HttpServer(std::unique_ptr<Impl> impl);
  const std::unique_ptr<Impl> impl_;
};

}  // namespace mrpool::metrics
