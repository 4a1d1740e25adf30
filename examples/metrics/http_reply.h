// The HTTP server's replies, without sockets: from a request to a reply.
//
//   /             the status page; its script and its style sheet have paths of their own
//   /status.json  the data of the page
//   /metrics      for Prometheus
//   /health       "ok"
//
// GET and HEAD only. With a token, /metrics and /status.json need "Authorization: Bearer TOKEN";
// the page itself holds no data and asks for the token. Without a token on a loopback address, the
// host of a request must be a numeric address or localhost. Otherwise a foreign web page could make
// its own name resolve to this address and read the replies (DNS rebinding).
//
// Thread safety: distinct objects: safe. Ownership: the source must outlive it.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "examples/metrics/snapshot.h"

namespace mrpool::metrics {

struct HttpRequest {
  std::string_view method{};
  std::string_view target{};  // as sent, with the query
  std::string_view host{};
  std::string_view authorization{};
};

struct HttpReply {
  unsigned status = 200;
  std::string type = "text/plain; charset=utf-8";
  std::string body{};
  // In addition to kHeaders.
  std::vector<std::pair<std::string, std::string>> headers{};
};

// The headers of every reply. They forbid foreign content, framing, content sniffing and caching.
extern const std::vector<std::pair<std::string, std::string>> kHeaders;

class HttpSite {
 public:
  struct Options {
    std::string token{};    // empty: not required
    bool loopback = false;  // only this machine can connect
  };
  using Source = std::function<Snapshot()>;
  HttpSite(Options options, Source source)
      : options_(std::move(options)), source_(std::move(source)) {}

  HttpReply answer(const HttpRequest& request) const;

 private:
  bool authorized(std::string_view authorization) const;

  const Options options_;
  const Source source_;
};

// An error reply with one line of text.
HttpReply refusal(unsigned status, std::string_view why);

}  // namespace mrpool::metrics
