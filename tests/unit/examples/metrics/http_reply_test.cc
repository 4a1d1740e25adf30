#include "examples/metrics/http_reply.h"

#include <string>

#include "examples/metrics/page.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/examples/metrics/example_snapshot.h"

namespace mrpool::metrics {
namespace {

using testing::HasSubstr;
using testing::Pair;

const std::string kToken = "0123456789abcdef";

HttpSite open_site() { return HttpSite({.loopback = true}, example_snapshot); }
HttpSite closed_site() { return HttpSite({.token = kToken, .loopback = true}, example_snapshot); }

TEST(HttpSite, AnswersItsPaths) {
  const HttpSite site = open_site();
  EXPECT_EQ(site.answer({.method = "GET", .target = "/health"}).body, "ok\n");
  const HttpReply metrics = site.answer({.method = "GET", .target = "/metrics?x=1"});
  EXPECT_EQ(metrics.status, 200u);
  EXPECT_EQ(metrics.type, "text/plain; version=0.0.4; charset=utf-8");
  EXPECT_THAT(metrics.body, HasSubstr("mrpool_build_info"));
  EXPECT_EQ(site.answer({.method = "HEAD", .target = "/status.json"}).type, "application/json");
  EXPECT_THAT(site.answer({.method = "GET", .target = "/"}).body, HasSubstr("<!doctype html>"));
  for (const PageFile& file : page_files()) {
    const HttpReply reply = site.answer({.method = "GET", .target = file.path});
    EXPECT_EQ(reply.status, 200u) << file.path;
    EXPECT_EQ(reply.body, file.content) << file.path;
  }
}

TEST(HttpSite, KnowsNoOtherPathsAndMethods) {
  const HttpSite site = open_site();
  for (const char* path : {"", "*", "/x", "/metrics/", "//metrics", "/../metrics", "/page.html",
                           "http://127.0.0.1/metrics", "/%6detrics"}) {
    EXPECT_EQ(site.answer({.method = "GET", .target = path}).status, 404u) << path;
  }
  for (const char* method : {"POST", "PUT", "DELETE", "OPTIONS", "get", "PRI", ""}) {
    const HttpReply reply = site.answer({.method = method, .target = "/metrics"});
    EXPECT_EQ(reply.status, 405u) << method;
    EXPECT_THAT(reply.headers, testing::Contains(Pair("Allow", "GET, HEAD")));
  }
}

TEST(HttpSite, AsksForItsToken) {
  const HttpSite site = closed_site();
  for (const char* path : {"/metrics", "/status.json"}) {
    for (const std::string& wrong :
         {std::string(), std::string("Bearer"), std::string("Bearer "), "Basic " + kToken, kToken,
          "Bearer " + kToken + "x", "Bearer " + kToken.substr(1), "Bearer " + kToken + kToken}) {
      const HttpReply reply =
          site.answer({.method = "GET", .target = path, .authorization = wrong});
      EXPECT_EQ(reply.status, 401u) << wrong;
      EXPECT_THAT(reply.headers, testing::Contains(Pair("WWW-Authenticate", HasSubstr("Bearer"))));
      EXPECT_THAT(reply.body, testing::Not(HasSubstr("nqn")));
    }
    for (const char* scheme : {"Bearer ", "bearer "}) {
      const std::string right = scheme + kToken;
      EXPECT_EQ(site.answer({.method = "GET", .target = path, .authorization = right}).status,
                200u);
    }
  }
  // Nothing of the daemon is in these.
  EXPECT_EQ(site.answer({.method = "GET", .target = "/"}).status, 200u);
  EXPECT_EQ(site.answer({.method = "GET", .target = "/health"}).status, 200u);
}

TEST(HttpSite, OnLoopbackGoesByItsAddress) {
  for (const char* host :
       {"", "localhost", "localhost:9464", "127.0.0.1:9464", "[::1]:9464", "10.0.0.1"}) {
    EXPECT_EQ(open_site().answer({.method = "GET", .target = "/metrics", .host = host}).status,
              200u)
        << host;
  }
  for (const char* host :
       {"evil.example", "evil.example:9464", "127.0.0.1.evil.example", "localhost.evil"}) {
    EXPECT_EQ(open_site().answer({.method = "GET", .target = "/metrics", .host = host}).status,
              403u)
        << host;
  }
  // Who knows the token is nobody's victim, and an address for others has a name of its own.
  const std::string right = "Bearer " + kToken;
  EXPECT_EQ(
      closed_site()
          .answer(
              {.method = "GET", .target = "/metrics", .host = "storage", .authorization = right})
          .status,
      200u);
  EXPECT_EQ(HttpSite({}, example_snapshot)
                .answer({.method = "GET", .target = "/metrics", .host = "storage:9464"})
                .status,
            200u);
}

TEST(Page, LoadsNothingFromElsewhere) {
  for (const PageFile& file : page_files()) {
    if (file.path == "/uPlot.LICENSE" || file.path.starts_with("/uPlot.")) continue;
    for (const char* elsewhere :
         {"src=\"http", "href=\"http", "url(http", "fetch(\"http", "import "}) {
      EXPECT_EQ(file.content.find(elsewhere), std::string_view::npos) << file.path << elsewhere;
    }
    // What the policy of kHeaders would refuse.
    EXPECT_EQ(file.content.find(" style=\""), std::string_view::npos) << file.path;
    EXPECT_EQ(file.content.find("innerHTML"), std::string_view::npos) << file.path;
  }
}

}  // namespace
}  // namespace mrpool::metrics
