#include "examples/metrics/http_server.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/examples/metrics/example_snapshot.h"

namespace mrpool::metrics {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

class Server : public testing::Test {
 protected:
  void start(std::chrono::milliseconds patience = std::chrono::seconds(60)) {
    auto server = HttpServer::start(*parse_http_address("127.0.0.1:0"),
                                    HttpSite({.loopback = true}, example_snapshot), patience);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    const std::string url = server_->url();
    const size_t colon = url.rfind(':');
    port_ = uint16_t(std::stoi(url.substr(colon + 1)));
  }
  tcp::socket connect() {
    tcp::socket socket(context_);
    socket.connect({asio::ip::make_address("127.0.0.1"), port_});
    return socket;
  }
  static std::string rest(tcp::socket& socket) {
    std::string all;
    boost::system::error_code ended;
    asio::read(socket, asio::dynamic_buffer(all), ended);
    return all;
  }
  // Everything that is answered until the server closes.
  std::string ask(const std::string& request) {
    tcp::socket socket = connect();
    boost::system::error_code ended;
    asio::write(socket, asio::buffer(request), ended);
    return rest(socket);
  }

  asio::io_context context_;
  std::unique_ptr<HttpServer> server_;
  uint16_t port_ = 0;
};

TEST_F(Server, AnswersWithItsHeaders) {
  start();
  const std::string reply =
      ask("GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(reply, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(reply, HasSubstr("Content-Length: 3\r\n"));
  EXPECT_THAT(reply, testing::EndsWith("\r\n\r\nok\n"));
  for (const auto& [name, value] : kHeaders) {
    EXPECT_THAT(reply, HasSubstr(absl::StrCat(name, ": ", value, "\r\n")));
  }
}

TEST_F(Server, HeadHasNoBody) {
  start();
  const std::string reply = ask("HEAD /health HTTP/1.0\r\n\r\n");
  EXPECT_THAT(reply, HasSubstr("Content-Length: 3\r\n"));
  EXPECT_THAT(reply, testing::EndsWith("\r\n\r\n"));
}

TEST_F(Server, AnswersOneRequestAfterTheOther) {
  start();
  const std::string one = "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";
  const std::string reply =
      ask(one + "HEAD /x HTTP/1.1\r\nHost: localhost\r\n\r\n" + one +
          "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
  size_t found = 0;
  for (size_t at = 0; (at = reply.find("\r\n\r\nok\n", at)) != reply.npos; ++at) ++found;
  EXPECT_EQ(found, 3u) << reply;
  EXPECT_THAT(reply, HasSubstr("HTTP/1.1 404"));
}

TEST_F(Server, RefusesInvalidRequests) {
  start();
  EXPECT_THAT(ask("nonsense\r\n\r\n"), StartsWith("HTTP/1.1 400"));
  EXPECT_THAT(ask("GET /\x01 HTTP/1.1\r\n\r\n"), StartsWith("HTTP/1.1 400"));
  EXPECT_THAT(ask("GET / HTTP/3.7\r\n\r\n"), StartsWith("HTTP/1.1 400"));
  EXPECT_THAT(ask("GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n"), StartsWith("HTTP/1.1 400"));
  EXPECT_THAT(ask("POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello"), StartsWith("HTTP/1.1 413"));
  EXPECT_THAT(ask(absl::StrCat("GET /", std::string(kMaxRequest, 'a'), " HTTP/1.1\r\n\r\n")),
              StartsWith("HTTP/1.1 431"));
}

TEST_F(Server, DropsSlowClients) {
  start(std::chrono::milliseconds(50));
  tcp::socket slow = connect();
  asio::write(slow, asio::buffer(std::string("GET / HT")));
  EXPECT_EQ(rest(slow), "");
}

TEST_F(Server, HasRoomForSoManyClients) {
  start();
  std::vector<tcp::socket> idle;
  for (size_t i = 0; i < kMaxClients; ++i) idle.push_back(connect());
  // The excess connection is closed; the kernel's order of accepts decides which one.
  tcp::socket more = connect();
  EXPECT_EQ(rest(more), "");
  const std::string request =
      "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
  asio::write(idle[0], asio::buffer(request));
  EXPECT_THAT(rest(idle[0]), HasSubstr("ok\n"));
  idle.clear();
  // Places are free again once the server has seen the ends.
  std::string reply;
  for (int i = 0; i < 5000 && reply.empty(); ++i) reply = ask(request);
  EXPECT_THAT(reply, HasSubstr("ok\n"));
}

TEST_F(Server, EndsWithClientsThere) {
  start();
  tcp::socket idle = connect();
  tcp::socket half = connect();
  asio::write(half, asio::buffer(std::string("GET /")));
  server_.reset();
  EXPECT_EQ(rest(idle), "");
}

TEST(HttpServer, ReportsWhyItCannotListen) {
  const auto first =
      HttpServer::start(*parse_http_address("127.0.0.1:0"), HttpSite({}, example_snapshot));
  ASSERT_TRUE(first.ok());
  std::string address = (*first)->url().substr(7);
  address.pop_back();
  const auto second =
      HttpServer::start(*parse_http_address(address), HttpSite({}, example_snapshot));
  ASSERT_FALSE(second.ok());
  EXPECT_THAT(std::string(second.status().message()),
              HasSubstr(address + ": Address already in use"));
}

}  // namespace
}  // namespace mrpool::metrics
