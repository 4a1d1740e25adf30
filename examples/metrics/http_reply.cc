#include "examples/metrics/http_reply.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "examples/base/ip_address.h"
#include "examples/metrics/exporter.h"
#include "examples/metrics/page.h"
#include "examples/metrics/status_json.h"

namespace mrpool::metrics {
namespace {

constexpr std::string_view kScheme = "Bearer ";

// Takes the same time for every position of the first difference.
bool equal_secret(std::string_view a, std::string_view b) {
  unsigned difference = a.size() == b.size() ? 0 : 1;
  for (size_t i = 0; i < a.size(); ++i) {
    difference |= unsigned(uint8_t(a[i]) ^ uint8_t(b.empty() ? 0 : b[i % b.size()]));
  }
  return difference == 0;
}

bool same_scheme(std::string_view a, std::string_view b) {
  return std::ranges::equal(
      a, b, {}, [](char c) { return c | 0x20; }, [](char c) { return c | 0x20; });
}

// "localhost", "127.0.0.1:9464" or "[::1]:9464": hosts that a foreign web page cannot use.
bool names_no_other(std::string_view host) {
  if (host.empty()) return true;  // every browser sends it
  const std::string_view name = base::host_of(host);
  return name == "localhost" || base::IpAddress::parse(name).has_value();
}

const PageFile* find_page(std::string_view path) {
  const auto& files = page_files();
  const auto at = std::ranges::find(files, path, &PageFile::path);
  return at == files.end() ? nullptr : &*at;
}

}  // namespace

const std::vector<std::pair<std::string, std::string>> kHeaders = {
    {"Content-Security-Policy",
     "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' "
     "data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"},
    {"X-Content-Type-Options", "nosniff"},
    {"X-Frame-Options", "DENY"},
    {"Referrer-Policy", "no-referrer"},
    {"Cross-Origin-Resource-Policy", "same-origin"},
    {"Cache-Control", "no-store"}};

HttpReply refusal(unsigned status, std::string_view why) {
  return {.status = status, .body = std::string(why) + "\n"};
}

bool HttpSite::authorized(std::string_view authorization) const {
  if (options_.token.empty()) return true;
  if (authorization.size() < kScheme.size()) return false;
  if (!same_scheme(authorization.substr(0, kScheme.size()), kScheme)) return false;
  return equal_secret(authorization.substr(kScheme.size()), options_.token);
}

HttpReply HttpSite::answer(const HttpRequest& request) const {
  const std::string_view path = request.target.substr(0, request.target.find('?'));
  const PageFile* const page = find_page(path);
  const bool status = path == "/status.json";
  const bool metrics = path == "/metrics";
  const bool health = path == "/health";
  if (options_.loopback && options_.token.empty() && !names_no_other(request.host)) {
    return refusal(403,
                   "this server goes by its address or localhost only; set a token to use names");
  }
  if (page == nullptr && !status && !metrics && !health) {
    return refusal(404, "there are /, /metrics, /status.json and /health");
  }
  if (request.method != "GET" && request.method != "HEAD") {
    HttpReply reply = refusal(405, "only GET and HEAD");
    reply.headers.emplace_back("Allow", "GET, HEAD");
    return reply;
  }
  if (health) return {.body = "ok\n"};
  if (page != nullptr) return {.type = std::string(page->type), .body = std::string(page->content)};
  if (!authorized(request.authorization)) {
    HttpReply reply = refusal(401, "this needs the token of --http-token-file");
    reply.headers.emplace_back("WWW-Authenticate", "Bearer realm=\"mrpool\"");
    return reply;
  }
  if (status) return {.type = "application/json", .body = status_json(source_())};
  return {.type = kTextFormat, .body = to_text(Exporter(source_).Collect())};
}

}  // namespace mrpool::metrics
