// Bytes of an HTTP client: whatever Beast takes for a request gets a reply that keeps its rules.
#include <boost/asio/buffer.hpp>
#include <boost/beast/http.hpp>
#include <string>

#include "examples/metrics/http_options.h"
#include "examples/metrics/http_reply.h"
#include "tests/fuzz/fuzz.h"

namespace {

namespace http = boost::beast::http;
using mrpool::metrics::HttpReply;
using mrpool::metrics::HttpSite;

const std::string kToken = "0123456789abcdef";

std::string_view view(boost::beast::string_view text) { return {text.data(), text.size()}; }

mrpool::metrics::Snapshot snapshot() {
  mrpool::metrics::Snapshot one;
  one.hosts.push_back({.name = "secret"});
  return one;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  (void)mrpool::metrics::parse_http_address(mrpool::fuzz::text_of(data, size));
  http::request_parser<http::empty_body> parser;
  parser.header_limit(8192);
  parser.body_limit(0);
  boost::system::error_code error;
  parser.put(boost::asio::buffer(data, size), error);
  if (error || !parser.is_header_done()) return 0;
  const auto& request = parser.get();
  const std::string_view authorization = view(request[http::field::authorization]);
  static const HttpSite site({.token = kToken, .loopback = true}, snapshot);
  const HttpReply reply = site.answer({.method = view(request.method_string()),
                                       .target = view(request.target()),
                                       .host = view(request[http::field::host]),
                                       .authorization = authorization});
  FUZZ_CHECK(reply.status == 200 || reply.status == 401 || reply.status == 404 ||
             reply.status == 405);
  const bool knows = authorization.find(kToken) != authorization.npos;
  FUZZ_CHECK(knows || reply.body.find("\"secret\"") == reply.body.npos);
  return 0;
}
