// An HTTP/1.1 server for a daemon's metrics and status page, on a thread of its own.
//
// Nothing that a client does harms the daemon: there are kMaxClients connections (more are closed
// at once), a request has kMaxRequest bytes and no body, and each request and each reply has a time
// limit, so that slow clients are dropped.
//
// Thread safety: the owner's thread; its source is called on the server's. Ownership: owns its
// thread, which ends with it.
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
// A request has so long from its connection, or the reply before it, to its end.
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

  // "http://127.0.0.1:9464/", with the port that was given for port 0.
  std::string url() const;

 private:
  struct Impl;
  explicit HttpServer(std::unique_ptr<Impl> impl);
  const std::unique_ptr<Impl> impl_;
};

}  // namespace mrpool::metrics
