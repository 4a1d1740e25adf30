#include "transport/uiwarp/socket.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netdb.h>
#include <poll.h>
#include <sys/resource.h>

#include <array>
#include <cstring>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace mrpool::uiwarp {
namespace {

using std::chrono::seconds;
using testing::HasSubstr;

std::unique_ptr<Reactor> make_reactor() {
  auto reactor = Reactor::create({.spin = Nanoseconds::zero()});
  EXPECT_TRUE(reactor.ok()) << reactor.status();
  return std::move(*reactor);
}

// Runs the loop until `done`, or fails after a minute.
template <typename Done>
[[nodiscard]] bool run_until(Reactor& reactor, Done done) {
  const auto limit = std::chrono::steady_clock::now() + seconds(60);
  while (!done()) {
    if (std::chrono::steady_clock::now() > limit) return false;
    reactor.poll();
  }
  return true;
}

struct Accepted final : AcceptHandler {
  void on_accept(std::unique_ptr<Stream> stream) override { streams.push_back(std::move(stream)); }
  void on_accept_error(const absl::Status& error) override { errors.push_back(error); }
  std::vector<absl::Status> errors;
  std::vector<std::unique_ptr<Stream>> streams;
};

struct Dialed final : DialHandler {
  void on_dialed(absl::StatusOr<std::unique_ptr<Stream>> stream) override {
    result = std::move(stream);
  }
  std::optional<absl::StatusOr<std::unique_ptr<Stream>>> result;
};

struct Ready final : StreamEvents {
  void on_readable() override { ++readable; }
  void on_writable() override { ++writable; }
  int readable = 0, writable = 0;
};

StreamResult write_text(Stream& stream, std::string_view text) {
  const iovec out{const_cast<char*>(text.data()), text.size()};
  return stream.writev({&out, 1});
}

// Both ends of a connection on one reactor.
class Sockets : public testing::Test {
 protected:
  void connect(const char* host) {
    auto listening = network->listen(*reactor, {"uiwarp", host, 0, ""}, accepted);
    ASSERT_TRUE(listening.ok()) << listening.status();
    listener = std::move(*listening);
    ASSERT_NE(listener->port(), 0);
    auto dialing = network->dial(*reactor, {"uiwarp", host, listener->port(), ""}, dialed);
    ASSERT_TRUE(dialing.ok()) << dialing.status();
    dial = std::move(*dialing);
    ASSERT_TRUE(run_until(*reactor, [&] { return dialed.result && !accepted.streams.empty(); }));
    ASSERT_TRUE(dialed.result->ok()) << dialed.result->status();
    client = std::move(**dialed.result);
    server = std::move(accepted.streams.front());
    client->attach(*reactor, client_events);
    server->attach(*reactor, server_events);
  }

  std::unique_ptr<Reactor> reactor = make_reactor();
  std::shared_ptr<Network> network = make_socket_network();
  Accepted accepted;
  Dialed dialed;
  Ready client_events, server_events;
  std::unique_ptr<StreamListener> listener;
  std::unique_ptr<Dial> dial;
  std::unique_ptr<Stream> client, server;
};

TEST_F(Sockets, BytesGatherAndScatterInOrder) {
  connect("127.0.0.1");
  std::string a = "hel", b = "lo, wor", c = "ld";
  const std::array<iovec, 3> out = {{{a.data(), 3}, {b.data(), 7}, {c.data(), 2}}};
  EXPECT_EQ(client->writev(out).bytes, 12u);
  server->want_read();
  ASSERT_TRUE(run_until(*reactor, [&] { return server_events.readable == 1; }));
  char first[5], second[16];
  const std::array<iovec, 2> in = {{{first, 5}, {second, 16}}};
  EXPECT_EQ(server->readv(in).bytes, 12u);
  EXPECT_EQ(std::string(first, 5) + std::string(second, 7), "hello, world");
  EXPECT_TRUE(server->readv(in).would_block);
}

TEST_F(Sockets, NamesAreThoseOfTheOtherEnd) {
  connect("127.0.0.1");
  EXPECT_EQ(client->peer_name(), "127.0.0.1:" + std::to_string(listener->port()));
  EXPECT_EQ(client->local_name(), server->peer_name());
}

TEST_F(Sockets, Ipv6) {
  connect("::1");
  EXPECT_EQ(client->peer_name(), "[::1]:" + std::to_string(listener->port()));
}

TEST_F(Sockets, NamesAreResolved) {
  addrinfo* known = nullptr;
  if (getaddrinfo("localhost", nullptr, nullptr, &known) != 0) {
    GTEST_SKIP() << "this machine does not know localhost (no /etc/hosts?)";
  }
  freeaddrinfo(known);
  connect("localhost");
}

TEST_F(Sockets, NoHostMeansLoopback) {
  connect("");
  EXPECT_THAT(server->local_name(), HasSubstr("127.0.0.1:"));
}

TEST_F(Sockets, AnUnwatchedStreamIsNotifiedAgainAfterTheNextWait) {
  connect("127.0.0.1");
  char in[16];
  const iovec to{in, sizeof in};
  for (int i = 1; i <= 3; ++i) {
    server->want_read();
    write_text(*client, "watched");
    ASSERT_TRUE(run_until(*reactor, [&] { return server_events.readable == i; }));
    // A busy kernel may bring what was written twice in two pieces.
    const size_t wanted = i == 3 ? 10 : 7;
    size_t got = 0;
    EXPECT_TRUE(run_until(*reactor, [&] {
      got += server->readv({&to, 1}).bytes;
      return got >= wanted;
    }));
    EXPECT_EQ(got, wanted);
    server->stop_watching();
    server->stop_watching();  // once is enough
    write_text(*client, "not");
    for (int round = 0; round < 10; ++round) reactor->poll();
    EXPECT_EQ(server_events.readable, i);
    if (i == 2) continue;  // bytes that came before the next wait count, too
    while (server->readv({&to, 1}).would_block) {
    }
  }
  EXPECT_EQ(server_events.writable, 0);
}

TEST_F(Sockets, AWaitUnderWayKeepsAStreamWatched) {
  connect("127.0.0.1");
  server->want_read();
  server->stop_watching();
  write_text(*client, "watched");
  ASSERT_TRUE(run_until(*reactor, [&] { return server_events.readable == 1; }));
  server->want_write();
  server->stop_watching();
  ASSERT_TRUE(run_until(*reactor, [&] { return server_events.writable == 1; }));
}

TEST_F(Sockets, AStreamThatIsNotWatchedMovesAndCloses) {
  connect("127.0.0.1");
  server->want_read();
  write_text(*client, "x");
  ASSERT_TRUE(run_until(*reactor, [&] { return server_events.readable == 1; }));
  server->stop_watching();
  const auto other = make_reactor();
  Ready there;
  server->attach(*other, there);
  server->want_read();
  ASSERT_TRUE(run_until(*other, [&] { return there.readable == 1; }));
  char in[8];
  const iovec to{in, sizeof in};
  EXPECT_EQ(server->readv({&to, 1}).bytes, 1u);
  server->stop_watching();
  server.reset();
  StreamResult end;
  do end = client->readv({&to, 1});
  while (end.would_block);
  EXPECT_TRUE(end.closed);
}

TEST_F(Sockets, WritableComesAfterAFullBuffer) {
  connect("127.0.0.1");
  const std::string block(1 << 20, 'x');
  size_t sent = 0;
  for (StreamResult r = write_text(*client, block); !r.would_block;
       r = write_text(*client, block)) {
    ASSERT_EQ(r.error, 0);
    sent += r.bytes;
  }
  client->want_write();
  for (int i = 0; i < 10; ++i) reactor->poll();
  EXPECT_EQ(client_events.writable, 0);
  std::string sink(1 << 20, 0);
  const iovec in{sink.data(), sink.size()};
  size_t got = 0;
  while (got < sent) {
    const StreamResult r = server->readv({&in, 1});
    if (r.would_block) continue;
    ASSERT_GT(r.bytes, 0u);
    got += r.bytes;
  }
  EXPECT_TRUE(run_until(*reactor, [&] { return client_events.writable == 1; }));
}

TEST_F(Sockets, AWaitEndsOnceAndWantingTwiceIsOneWait) {
  connect("127.0.0.1");
  server->want_read();
  server->want_read();
  ASSERT_EQ(write_text(*client, "x").bytes, 1u);
  ASSERT_TRUE(run_until(*reactor, [&] { return server_events.readable == 1; }));
  for (int i = 0; i < 10; ++i) reactor->poll();
  EXPECT_EQ(server_events.readable, 1);
  server->want_read();  // the byte is still there
  EXPECT_TRUE(run_until(*reactor, [&] { return server_events.readable == 2; }));
}

TEST_F(Sockets, CloseAndShutdownAreSeen) {
  connect("127.0.0.1");
  server->want_read();
  client->shutdown_write();
  ASSERT_TRUE(run_until(*reactor, [&] { return server_events.readable == 1; }));
  char byte;
  const iovec in{&byte, 1};
  EXPECT_TRUE(server->readv({&in, 1}).closed);
  EXPECT_EQ(write_text(*server, "still open this way").error, 0);
  client.reset();  // with unread data: a reset
  server->want_read();
  ASSERT_TRUE(run_until(*reactor, [&] { return server_events.readable == 2; }));
  EXPECT_NE(write_text(*server, "x").error, 0);  // and no SIGPIPE
}

TEST_F(Sockets, TheEndIsSeenAfterTheDataThatCameWithIt) {
  connect("127.0.0.1");
  write_text(*client, "last");
  client->shutdown_write();
  server->want_read();
  ASSERT_TRUE(run_until(*reactor, [&] { return server_events.readable == 1; }));
  char in[16];
  const iovec to{in, sizeof in};
  EXPECT_EQ(server->readv({&to, 1}).bytes, 4u);
  server->want_read();
  ASSERT_TRUE(run_until(*reactor, [&] { return server_events.readable == 2; }));
  EXPECT_TRUE(server->readv({&to, 1}).closed);
}

TEST_F(Sockets, AFullBufferWaitsAlsoAfterThePeerHasShutDown) {
  connect("127.0.0.1");
  client->shutdown_write();
  server->want_read();
  ASSERT_TRUE(run_until(*reactor, [&] { return server_events.readable == 1; }));
  const std::string block(1 << 20, 'x');
  while (!write_text(*server, block).would_block) {
  }
  server->want_write();
  for (int i = 0; i < 10; ++i) reactor->poll();
  EXPECT_EQ(server_events.writable, 0);
  std::string sink(1 << 20, 0);
  const iovec in{sink.data(), sink.size()};
  EXPECT_TRUE(run_until(*reactor, [&] {
    client->readv({&in, 1});
    return server_events.writable == 1;
  }));
}

TEST_F(Sockets, AllThatBecomeReadyInOneRoundHearOfIt) {
  connect("127.0.0.1");
  client->want_read();
  server->want_read();
  write_text(*client, "x");
  write_text(*server, "y");
  EXPECT_TRUE(run_until(
      *reactor, [&] { return client_events.readable == 1 && server_events.readable == 1; }));
}

// Of two streams that become ready in one round the first ends the other.
TEST_F(Sockets, AStreamMayEndWhileItsEventIsOnTheWay) {
  connect("127.0.0.1");
  struct Ends final : StreamEvents {
    void on_readable() override {
      ++events;
      other->reset();
    }
    void on_writable() override {}
    std::unique_ptr<Stream>* other = nullptr;
    int events = 0;
  } ends_client, ends_server;
  ends_client.other = &server;
  ends_server.other = &client;
  client->attach(*reactor, ends_client);
  server->attach(*reactor, ends_server);
  client->want_read();
  server->want_read();
  write_text(*client, "x");
  write_text(*server, "y");
  ASSERT_TRUE(run_until(*reactor, [&] { return ends_client.events + ends_server.events > 0; }));
  for (int i = 0; i < 10; ++i) reactor->poll();
  EXPECT_EQ(ends_client.events + ends_server.events, 1);
}

// The reactor sleeps in the kernel each time: what is waited for must wake it, however it is found.
TEST_F(Sockets, EachWaitWakesAReactorThatSleeps) {
  connect("127.0.0.1");
  char in[16];
  const iovec to{in, sizeof in};
  const auto sleep_until = [&](int readable) {
    for (int i = 0; i < 1000 && server_events.readable < readable; ++i) {
      if (reactor->poll() > 0 || !reactor->arm()) continue;
      pollfd wake{.fd = reactor->fd(), .events = POLLIN, .revents = 0};
      ASSERT_EQ(::poll(&wake, 1, 60'000), 1) << "nothing woke the reactor";
    }
    ASSERT_EQ(server_events.readable, readable);
  };
  // Bytes that come before the wait, after it, and that a transfer has left.
  for (int i = 0; i < 400; i += 4) {
    write_text(*client, "before");
    server->want_read();
    ASSERT_NO_FATAL_FAILURE(sleep_until(i + 1));
    const iovec some{in, 2};
    EXPECT_EQ(server->readv({&some, 1}).bytes, 2u);
    server->want_read();
    ASSERT_NO_FATAL_FAILURE(sleep_until(i + 2));
    EXPECT_EQ(server->readv({&to, 1}).bytes, 4u);
    server->want_read();
    while (reactor->poll() > 0 || !reactor->arm()) {
    }
    write_text(*client, "after");
    ASSERT_NO_FATAL_FAILURE(sleep_until(i + 3));
    EXPECT_EQ(server->readv({&to, 1}).bytes, 5u);
    // From outside the rounds, while the reactor is armed.
    write_text(*client, "armed");
    while (reactor->poll() > 0 || !reactor->arm()) {
    }
    server->want_read();
    ASSERT_NO_FATAL_FAILURE(sleep_until(i + 4));
    EXPECT_EQ(server->readv({&to, 1}).bytes, 5u);
    for (int round = 0; i % 40 == 0 && round < 400; ++round) {  // the reactor stays awake for long
      server->want_read();
      write_text(*client, "x");
      ASSERT_TRUE(run_until(*reactor, [&] { return server_events.readable == i + 5; }));
      EXPECT_EQ(server->readv({&to, 1}).bytes, 1u);
      server_events.readable = i + 4;
    }
  }
}

TEST_F(Sockets, NoEventAfterDestruction) {
  connect("127.0.0.1");
  server->want_read();
  ASSERT_EQ(write_text(*client, "x").bytes, 1u);
  server.reset();
  for (int i = 0; i < 10; ++i) reactor->poll();
  EXPECT_EQ(server_events.readable, 0);
}

TEST_F(Sockets, AStreamMovesToAnotherReactorsThread) {
  connect("127.0.0.1");
  // Used on the first reactor, so that there is something to leave.
  server->want_read();
  ASSERT_EQ(write_text(*client, "1").bytes, 1u);
  ASSERT_TRUE(run_until(*reactor, [&] { return server_events.readable == 1; }));
  char byte;
  const iovec in{&byte, 1};
  ASSERT_EQ(server->readv({&in, 1}).bytes, 1u);

  ASSERT_EQ(write_text(*client, "3").bytes, 1u);
  Ready moved_events;
  std::thread([&] {
    auto other = make_reactor();
    server->attach(*other, moved_events);
    server->want_read();
    EXPECT_EQ(write_text(*server, "2").bytes, 1u);
    EXPECT_TRUE(run_until(*other, [&] { return moved_events.readable == 1; }));
    EXPECT_EQ(server->readv({&in, 1}).bytes, 1u);
    EXPECT_EQ(byte, '3');
    server.reset();
  }).join();
  EXPECT_EQ(server_events.readable, 1);
}

TEST_F(Sockets, RefusedDialNamesTheAddress) {
  connect("127.0.0.1");
  const uint16_t port = listener->port();
  listener.reset();
  dialed.result.reset();
  auto dialing = network->dial(*reactor, {"uiwarp", "127.0.0.1", port, ""}, dialed);
  ASSERT_TRUE(dialing.ok()) << dialing.status();
  ASSERT_TRUE(run_until(*reactor, [&] { return dialed.result.has_value(); }));
  EXPECT_EQ(dialed.result->status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(dialed.result->status().message()),
              HasSubstr("127.0.0.1:" + std::to_string(port)));
}

TEST_F(Sockets, ADialDistinguishesItsCauses) {
  const auto code_of = [&](const std::string& host, uint16_t port) {
    dialed.result.reset();
    auto dialing = network->dial(*reactor, {"uiwarp", host, port, ""}, dialed);
    EXPECT_TRUE(dialing.ok()) << dialing.status();
    EXPECT_TRUE(run_until(*reactor, [&] { return dialed.result.has_value(); }));
    return dialed.result->status().code();
  };
  EXPECT_EQ(code_of("no-such-host.invalid", 1), absl::StatusCode::kNotFound);
  // A broadcast address: no connection leads there.
  EXPECT_EQ(code_of("255.255.255.255", 1), absl::StatusCode::kFailedPrecondition);
}

TEST_F(Sockets, ADroppedDialIsSilent) {
  auto listening = network->listen(*reactor, {"uiwarp", "127.0.0.1", 0, ""}, accepted);
  ASSERT_TRUE(listening.ok()) << listening.status();
  const Address to{"uiwarp", "localhost", (*listening)->port(), ""};
  for (int rounds = 0; rounds < 20; ++rounds) {
    auto dialing = network->dial(*reactor, to, dialed);
    ASSERT_TRUE(dialing.ok()) << dialing.status();
    for (int i = 0; i < rounds; ++i) reactor->poll();
    if (dialed.result) break;  // it was quicker than the drop
    dialing->reset();
    for (int i = 0; i < 20; ++i) reactor->poll();
    EXPECT_FALSE(dialed.result.has_value());
  }
}

TEST_F(Sockets, SetUpErrorsNameTheCause) {
  auto first = network->listen(*reactor, {"uiwarp", "127.0.0.1", 0, ""}, accepted);
  ASSERT_TRUE(first.ok()) << first.status();
  const auto second =
      network->listen(*reactor, {"uiwarp", "127.0.0.1", (*first)->port(), ""}, accepted);
  EXPECT_EQ(second.status().code(), absl::StatusCode::kAlreadyExists);
  const auto nowhere = network->listen(*reactor, {"uiwarp", "192.0.2.1", 0, ""}, accepted);
  EXPECT_THAT(std::string(nowhere.status().message()), HasSubstr("192.0.2.1"));
  const auto no_port = network->dial(*reactor, {"uiwarp", "127.0.0.1", 0, ""}, dialed);
  EXPECT_EQ(no_port.status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(Sockets, OutOfDescriptorsPausesTheListenerAndLosesNothing) {
  connect("127.0.0.1");
  accepted.streams.clear();
  // A connection waits in the queue of the listener, whose reactor has not looked yet.
  auto dial_reactor = make_reactor();
  Dialed early;
  auto dialing = network->dial(*dial_reactor, {"uiwarp", "127.0.0.1", listener->port(), ""}, early);
  ASSERT_TRUE(dialing.ok()) << dialing.status();
  ASSERT_TRUE(run_until(*dial_reactor, [&] { return early.result.has_value(); }));
  rlimit before;
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none{.rlim_cur = 3, .rlim_max = before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  for (int i = 0; i < 100; ++i) reactor->poll();
  EXPECT_TRUE(accepted.streams.empty());
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_TRUE(run_until(*reactor, [&] { return !accepted.streams.empty(); }));
  ASSERT_EQ(accepted.errors.size(), 1u);  // once an episode
  EXPECT_EQ(accepted.errors[0].code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(accepted.errors[0].message()), HasSubstr("ulimit -n"));
}

}  // namespace
}  // namespace mrpool::uiwarp
