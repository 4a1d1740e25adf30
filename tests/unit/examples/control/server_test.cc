// The control socket with real clients: many at once, slow ones, too many.
#include "examples/control/server.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <boost/json/value.hpp>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

namespace mrpool::control::testing {
namespace {

class ServerTest : public ::testing::Test {
 protected:
  ServerTest() {
    std::string name = "/tmp/mrpool-control-XXXXXX";
    folder_ = mkdtemp(name.data());
    path_ = folder_ + "/socket";
    methods_.add({.name = "long", .summary = "a long answer", .run = [](const Given&) -> Result {
                    return boost::json::value(std::string(1 << 20, 'x'));
                  }});
    methods_.add({.name = "short", .summary = "a short one", .run = [](const Given&) -> Result {
                    return boost::json::value(true);
                  }});
  }
  ~ServerTest() override {
    for (const int each : clients_) close(each);
    server_.reset();
    std::filesystem::remove_all(folder_);
  }

  void serve(Server::Options options = {}) {
    auto server = Server::create(loop_, methods_, path_, options);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }
  int client() {
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    strncpy(address.sun_path, path_.c_str(), sizeof address.sun_path - 1);
    EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    clients_.push_back(fd);
    return fd;
  }
  static void say(int fd, std::string_view text) {
    ASSERT_EQ(write(fd, text.data(), text.size()), ssize_t(text.size()));
  }
  void step() { loop_.run_for(std::chrono::milliseconds(1)); }
  // What the client gets until its first newline; what there is when the server closes.
  std::string line(int fd) {
    std::string text;
    while (text.find('\n') == text.npos) {
      step();
      char some[65536];
      const ssize_t got = read(fd, some, sizeof some);
      if (got == 0) break;
      if (got > 0) text.append(some, size_t(got));
    }
    return text;
  }
  // Waits until the server has closed the client, which has read nothing.
  void until_closed(int fd) {
    pollfd ends{.fd = fd, .events = POLLRDHUP, .revents = 0};
    while (poll(&ends, 1, 0) == 0) step();
  }
  void until_clients(size_t count) {
    while (server_->clients() != count) step();
  }

  boost::asio::io_context loop_;
  Methods methods_;
  std::string folder_;
  std::string path_;
  std::unique_ptr<Server> server_;
  std::vector<int> clients_;
};

constexpr std::string_view kShort = R"({"jsonrpc":"2.0","method":"short","id":1})";
constexpr std::string_view kShortAnswer = "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":true}\n";
constexpr std::string_view kLong = R"({"jsonrpc":"2.0","method":"long","id":1})";

TEST_F(ServerTest, ManyClientsAtOnce) {
  serve();
  std::vector<int> all;
  for (int i = 0; i < 20; ++i) all.push_back(client());
  for (const int each : all) say(each, kShort.substr(0, 10));
  until_clients(20);
  for (const int each : all) say(each, kShort.substr(10));
  for (const int each : all) EXPECT_EQ(line(each), kShortAnswer);
  for (const int each : all) shutdown(each, SHUT_RDWR);
  until_clients(0);
}

TEST_F(ServerTest, AnswersThatAreLong) {
  serve();
  const int fd = client();
  say(fd, std::string(kLong) + std::string(kShort));
  EXPECT_GT(line(fd).size(), size_t{1} << 20);
}

TEST_F(ServerTest, OneClientTooManyGetsAnError) {
  serve({.max_clients = 1});
  client();
  until_clients(1);
  const std::string refusal = line(client());
  EXPECT_NE(refusal.find("1 clients are connected already"), std::string::npos) << refusal;
  EXPECT_EQ(server_->clients(), 1u);
}

TEST_F(ServerTest, AClientThatSendsInvalidJsonGetsAnErrorAndIsClosed) {
  serve();
  const int fd = client();
  say(fd, "GET / HTTP/1.1\r\n\r\n");
  EXPECT_NE(line(fd).find("-32700"), std::string::npos);
  until_clients(0);
}

TEST_F(ServerTest, ClientThatDoesNotReadIsDropped) {
  serve({.patience = std::chrono::milliseconds(50)});
  const int fd = client();
  say(fd, kLong);
  until_closed(fd);
}

TEST_F(ServerTest, ClientWithTooManyUnreadAnswersIsDropped) {
  serve({.max_answers = 3 << 20});
  const int fd = client();
  for (int i = 0; i < 10; ++i) say(fd, kLong);
  until_closed(fd);
}

TEST_F(ServerTest, ItsEndEndsItsClients) {
  serve();
  const int fd = client();
  until_clients(1);
  server_.reset();
  loop_.run_for(std::chrono::milliseconds(1));
  char some;
  EXPECT_EQ(read(fd, &some, 1), 0);
}

}  // namespace
}  // namespace mrpool::control::testing
