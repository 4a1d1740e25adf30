// What the HTTP server answers, without sockets: a request in, a reply out.
//
//   /             the status page, its script and its style sheet beside it
//   /status.json  what the page shows
//   /metrics      for Prometheus
//   /health       "ok"
//
// GET and HEAD only. With a token, /metrics and /status.json need "Authorization: Bearer TOKEN";
// the page itself holds no data and asks for the token. Without one, a request that names another
// host than a numeric address or localhost is refused where only this machine can connect: a web
// page elsewhere could otherwise have its name point here and read the answers (DNS rebinding).
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
  std::string_view target{};  // as it was sent, with the query
  std::string_view host{};
  std::string_view authorization{};
};

struct HttpReply {
  unsigned status = 200;
  std::string type = "text/plain; charset=utf-8";
  std::string body{};
  // Besides those that every reply has (kHeaders).
  std::vector<std::pair<std::string, std::string>> headers{};
};

// Of every reply. Nothing is loaded from elsewhere, framed, guessed at or kept.
extern const std::vector<std::pair<std::string, std::string>> kHeaders;

class HttpSite {
 public:
  struct Options {
    std::string token{};    // empty: none is asked for
    bool loopback = false;  // nobody but this machine can connect
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

// A reply of one line of text.
HttpReply refusal(unsigned status, std::string_view why);

}  // namespace mrpool::metrics
