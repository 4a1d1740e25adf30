// Setting up and taking down connections.
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/conformance/fixture.h"

namespace mrpool::conformance {
namespace {

using std::chrono::milliseconds;

std::vector<std::byte> bytes_of(std::string_view text) {
  std::vector<std::byte> bytes(text.size());
  std::ranges::transform(text, bytes.begin(), [](char c) { return static_cast<std::byte>(c); });
  return bytes;
}

// InfiniBand's connection manager pads private data with zeroes to its fixed size.
testing::AssertionResult carries(std::span<const std::byte> got, std::span<const std::byte> sent) {
  if (got.size() < sent.size() || (caps().iwarp && got.size() != sent.size())) {
    return testing::AssertionFailure() << got.size() << " bytes for " << sent.size();
  }
  if (std::ranges::any_of(got.subspan(sent.size()),
                          [](std::byte b) { return b != std::byte{0}; })) {
    return testing::AssertionFailure() << "padding that is not zero";
  }
  return same_bytes(got.first(sent.size()), sent);
}

class Connect : public ConformanceTest {
 protected:
  // Connects; the private data of both sides arrives.
  void exchange(std::span<const std::byte> question, const std::vector<std::byte>& answer) {
    acceptor.private_data = answer;
    listen();
    start_connect(client, {}, {.private_data = question});
    ASSERT_TRUE(until([&] { return client.connected && server.connected; })) << client.detail;
    EXPECT_TRUE(carries(acceptor.request_data, question));
    EXPECT_TRUE(carries(client.peer_data, answer));
  }
};

TEST_F(Connect, BothSidesAreNotified) {
  connect();
  EXPECT_FALSE(client.disconnected);
  EXPECT_FALSE(server.disconnected);
}

TEST_F(Connect, PrivateDataTravelsBothWays) {
  const auto question = bytes_of("nqn.2026-11.example:host with some words behind");
  const auto answer = bytes_of("and the target's answer to it");
  exchange(question, answer);
}

TEST_F(Connect, NoPrivateDataIsFine) {
  connect();
  EXPECT_TRUE(carries(acceptor.request_data, {}));
  EXPECT_TRUE(carries(client.peer_data, {}));
}

TEST_F(Connect, TooMuchPrivateDataIsRefusedAtTheCall) {
  listen();
  const std::vector<std::byte> huge(64 * 1024);
  const ConnectParams params{.private_data = huge};
  const auto qp = device.connect(target, *client.pd, client.options(), params, client);
  EXPECT_EQ(qp.status().code(), absl::StatusCode::kInvalidArgument) << qp.status();
}

TEST_F(Connect, PrivateDataUpToTheCapsTravelsWhole) {
  const DeviceCaps::PrivateData& room = caps().max_private_data;
  const std::vector<std::byte> question(room.connect, std::byte{1});
  const std::vector<std::byte> answer(room.accept, std::byte{2});
  exchange(question, answer);
}

TEST_F(Connect, TooMuchPrivateDataOfAnAnswerIsRefusedAndTheRequestStands) {
  const DeviceCaps::PrivateData& room = caps().max_private_data;
  const std::vector<std::byte> huge(std::max(room.accept, room.reject) + 1u);
  acceptor.server = nullptr;
  listen();
  start_connect(client);
  ASSERT_TRUE(until([&] { return acceptor.kept != nullptr; }));
  EXPECT_EQ(acceptor.kept->reject(huge).code(), absl::StatusCode::kInvalidArgument);
  const auto qp =
      acceptor.kept->accept(*server.pd, server.options(), {.private_data = huge}, server);
  EXPECT_EQ(qp.status().code(), absl::StatusCode::kInvalidArgument);
  const std::vector<std::byte> fits(room.reject, std::byte{7});
  EXPECT_TRUE(acceptor.kept->reject(fits).ok());
  EXPECT_EQ(acceptor.kept->reject(fits).code(), absl::StatusCode::kFailedPrecondition);
  ASSERT_TRUE(until([&] { return client.disconnected.has_value(); }));
  EXPECT_TRUE(carries(client.peer_data, fits));
}

TEST_F(Connect, ReadCreditsAreTheSmallerOfBothSides) {
  connect({.ord = 8, .ird = 4}, {.ord = 16, .ird = 3});
  EXPECT_LE(client.qp->ord(), 3);
  EXPECT_GE(client.qp->ord(), 1);
  EXPECT_LE(server.qp->ord(), 4);
  EXPECT_GE(server.qp->ord(), 1);
  EXPECT_EQ(client.ord, client.qp->ord());
}

TEST_F(Connect, RejectCarriesPrivateData) {
  const auto reason = bytes_of("no such subsystem");
  acceptor.server = nullptr;
  listen();
  start_connect(client);
  ASSERT_TRUE(until([&] { return acceptor.kept != nullptr; }));
  EXPECT_TRUE(acceptor.kept->reject(reason).ok());
  acceptor.kept.reset();
  ASSERT_TRUE(until([&] { return client.disconnected.has_value(); }));
  EXPECT_TRUE(client.rejected);
  EXPECT_FALSE(client.connected);
  EXPECT_EQ(client.disconnected, DisconnectReason::kRejected);
  EXPECT_TRUE(carries(client.peer_data, reason));
}

TEST_F(Connect, ARequestDroppedIsARequestRejected) {
  acceptor.server = nullptr;
  listen();
  start_connect(client);
  ASSERT_TRUE(until([&] { return acceptor.kept != nullptr; }));
  acceptor.kept.reset();
  ASSERT_TRUE(until([&] { return client.disconnected.has_value(); }));
  EXPECT_FALSE(client.connected);
}

TEST_F(Connect, NoListenerEndsTheAttempt) {
  listen();
  listener.reset();
  auto qp = device.connect(target, *client.pd, client.options(), {}, client);
  if (!qp.ok()) return;  // a device may know at once
  client.qp = std::move(*qp);
  ASSERT_TRUE(until([&] { return client.disconnected.has_value(); }));
  EXPECT_FALSE(client.connected);
  EXPECT_FALSE(client.rejected);
  EXPECT_EQ(client.disconnected, DisconnectReason::kRefused);
}

TEST_F(Connect, AHostWithoutAnAddressIsNamedAsSuch) {
  Address nowhere = environment().address;
  nowhere.host = "no-such-host.invalid";
  nowhere.port = 1;
  auto qp = device.connect(nowhere, *client.pd, client.options(), {}, client);
  if (!qp.ok()) {  // a device may resolve in the call
    EXPECT_EQ(qp.status().code(), absl::StatusCode::kNotFound) << qp.status();
    return;
  }
  client.qp = std::move(*qp);
  ASSERT_TRUE(until([&] { return client.disconnected.has_value(); }));
  EXPECT_EQ(client.disconnected, DisconnectReason::kUnresolved);
}

TEST_F(Connect, NoAnswerTimesOut) {
  acceptor.server = nullptr;  // keeps the request and says nothing
  listen();
  start_connect(client, {}, {.private_data = {}, .timeout = milliseconds(200)});
  ASSERT_TRUE(until([&] { return client.disconnected.has_value(); }));
  EXPECT_FALSE(client.connected);
  EXPECT_EQ(client.disconnected, DisconnectReason::kTimeout);
}

TEST_F(Connect, AnAttemptMayBeAbandoned) {
  acceptor.server = nullptr;
  listen();
  start_connect(client);
  ASSERT_TRUE(until([&] { return acceptor.kept != nullptr; }));
  client.qp.reset();
  settle();
  EXPECT_FALSE(client.connected);
  // The request is stale now; accepting it must not end well nor badly.
  auto qp = acceptor.kept->accept(*server.pd, server.options(), {}, server);
  if (qp.ok()) {
    server.qp = std::move(*qp);
    ASSERT_TRUE(until([&] { return server.disconnected.has_value(); }));
  }
}

TEST_F(Connect, ReceivesMayBePostedBeforeTheConnection) {
  listen();
  start_connect(client);
  Region inbox(*client.pd, 64, Access::kLocalWrite);
  Region outbox(*server.pd, 64, Access::kNone);
  outbox.fill(3);
  Op& received = client.receive(inbox.sge());
  ASSERT_TRUE(until([&] { return client.connected && server.connected; }));
  server.send(outbox.sge());
  ASSERT_TRUE(finish(received));
  EXPECT_TRUE(received.ok());
  EXPECT_TRUE(same_bytes(inbox.bytes(), outbox.bytes()));
}

TEST_F(Connect, SendsNeedAConnection) {
  acceptor.server = nullptr;
  listen();
  start_connect(client);
  Region outbox(*client.pd, 64, Access::kNone);
  const Sge sge = outbox.sge();
  const WorkRequest send{.opcode = Opcode::kSend, .sges = {&sge, 1}};
  EXPECT_EQ(client.try_post(send), PostStatus::kNotConnected);
  ASSERT_TRUE(until([&] { return acceptor.kept != nullptr; }));
  acceptor.kept.reset();
  ASSERT_TRUE(until([&] { return client.disconnected.has_value(); }));
  EXPECT_EQ(client.try_post(send), PostStatus::kNotConnected);
}

TEST_F(Connect, DisconnectDeliversWhatWasPostedBefore) {
  connect();
  Region inbox(*server.pd, 32 * 64, Access::kLocalWrite);
  Region outbox(*client.pd, 64, Access::kNone);
  outbox.fill(1);
  std::vector<Op*> received;
  for (size_t i = 0; i < 32; ++i) received.push_back(&server.receive(inbox.sge(i * 64, 64)));
  for (size_t i = 0; i < 32; ++i) client.send(outbox.sge());
  client.qp->disconnect();
  ASSERT_TRUE(both_ended());
  for (const Op* op : received) EXPECT_TRUE(op->ok());
  for (const Op* op : client.finished_sends()) EXPECT_TRUE(op->ok());
  EXPECT_EQ(client.disconnected, DisconnectReason::kLocal);
  EXPECT_EQ(server.disconnected, DisconnectReason::kPeer);
}

// The side that disconnects reports kLocal and the other kPeer, even with requests outstanding.
TEST_F(Connect, ADisconnectUnderLoadKeepsItsName) {
  listen();
  for (int round = 0; round < 20; ++round) {
    SCOPED_TRACE(round);
    Side a(device, *reactor, "a"), b(device, *reactor, "b");
    Region near(*a.pd, 1 << 20, Access::kLocalWrite | Access::kRemoteRead | Access::kRemoteWrite);
    Region far(*b.pd, 1 << 20, sink_access());
    acceptor.server = &b;
    start_connect(a);
    ASSERT_TRUE(until([&] { return a.connected && b.connected; })) << a.detail;
    // Once one side closes, the other sends more than that has receives for.
    for (int i = 0; i < 4; ++i) a.receive(near.sge(0, 64));
    const auto load = [&] {
      for (int i = 0; i < 4; ++i) {
        const Sge all = far.sge(0, 100'000);
        const Sge word = far.sge(0, 64);
        (void)b.try_post({.opcode = Opcode::kRdmaWrite,
                          .sges = {&all, 1},
                          .remote_addr = near.remote(),
                          .rkey = near.rkey()});
        (void)b.try_post({.opcode = Opcode::kRdmaRead,
                          .sges = {&all, 1},
                          .remote_addr = near.remote(),
                          .rkey = near.rkey()});
        if (a.qp->connected()) continue;
        (void)b.try_post({.opcode = Opcode::kSend, .sges = {&word, 1}});
      }
    };
    for (int i = 0; i < round; ++i) {
      if (i % 3 == 0) load();
      reactor->poll();
    }
    a.qp->disconnect();
    ASSERT_TRUE(until([&] {
      if (!b.disconnected) load();
      return a.disconnected && b.disconnected;
    }));
    EXPECT_EQ(a.disconnected, DisconnectReason::kLocal) << a.detail;
    if (caps().name == "uiwarp") {
      EXPECT_EQ(b.disconnected, DisconnectReason::kPeer) << b.detail;
    }
    a.qp.reset();
    b.qp.reset();
  }
}

TEST_F(Connect, BothMayDisconnectAtOnce) {
  connect();
  client.qp->disconnect();
  server.qp->disconnect();
  EXPECT_TRUE(both_ended());
}

TEST_F(Connect, DisconnectTwiceEndsOnce) {
  connect();
  client.qp->disconnect();
  client.qp->disconnect();
  client.qp->abort();
  EXPECT_TRUE(both_ended());
}

TEST_F(Connect, AbortEndsBothSides) {
  connect();
  client.qp->abort();
  ASSERT_TRUE(both_ended());
  EXPECT_EQ(client.disconnected, DisconnectReason::kLocal);
  EXPECT_FALSE(client.qp->connected());
  EXPECT_FALSE(server.qp->connected());
}

TEST_F(Connect, DestroyingAQpEndsThePeer) {
  connect();
  client.qp.reset();
  EXPECT_TRUE(until([&] { return server.disconnected.has_value(); }));
}

TEST_F(Connect, AQpMayBeDestroyedFromItsLastCall) {
  struct Suicide final : QpEvents {
    void on_connected(Qp&, const ConnectionInfo&) override { connected = true; }
    void on_rejected(Qp&, std::span<const std::byte>) override {}
    void on_disconnected(Qp&, const Disconnect&) override {
      qp.reset();
      ended = true;
    }
    std::unique_ptr<Qp> qp;
    bool connected = false, ended = false;
  } events;
  listen();
  auto qp = device.connect(target, *client.pd, client.options(), {}, events);
  ASSERT_TRUE(qp.ok()) << qp.status();
  events.qp = std::move(*qp);
  ASSERT_TRUE(until([&] { return events.connected && server.connected; }));
  server.qp->disconnect();
  EXPECT_TRUE(until([&] { return events.ended && server.disconnected; }));
}

TEST_F(Connect, ConnectionsOutliveTheListener) {
  connect();
  listener.reset();
  Region inbox(*server.pd, 64, Access::kLocalWrite);
  Region outbox(*client.pd, 64, Access::kNone);
  Op& received = server.receive(inbox.sge());
  client.send(outbox.sge());
  ASSERT_TRUE(finish(received));
  EXPECT_TRUE(received.ok());
}

// Out of descriptors: the owner is notified once each time, and no connection is lost.
TEST_F(Connect, AListenerThatCannotAcceptNotifiesItsOwner) {
  if (caps().name != "uiwarp") return;  // others accept in the kernel
  connect();
  rlimit before;
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const int late = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(target.port);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const rlimit none{.rlim_cur = 3, .rlim_max = before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  const int connected = ::connect(late, reinterpret_cast<const sockaddr*>(&to), sizeof to);
  const bool told = until([&] { return !acceptor.listen_errors.empty(); });
  settle();
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  ::close(late);
  ASSERT_EQ(connected, 0);
  ASSERT_TRUE(told);
  EXPECT_EQ(acceptor.listen_errors.size(), 1u);
  EXPECT_EQ(acceptor.listen_errors[0].code(), absl::StatusCode::kResourceExhausted);
  Side a(device, *reactor, "later client"), b(device, *reactor, "later server");
  acceptor.server = &b;
  start_connect(a);
  EXPECT_TRUE(until([&] { return a.connected && b.connected; })) << a.detail;
}

TEST_F(Connect, ManyTimesInARow) {
  listen();
  for (int i = 0; i < 150; ++i) {
    SCOPED_TRACE(i);
    Side dialing(device, *reactor, "dialing");
    Side accepting(device, *reactor, "accepting");
    acceptor.server = &accepting;
    ASSERT_NO_FATAL_FAILURE(start_connect(dialing));
    ASSERT_TRUE(until([&] { return dialing.connected && accepting.connected; }))
        << dialing.detail << ", accepted: " << acceptor.accepted << accepting.detail;
    Side& first = i % 2 == 0 ? dialing : accepting;
    i % 3 == 0 ? first.qp->abort() : first.qp->disconnect();
    ASSERT_TRUE(until([&] { return dialing.disconnected && accepting.disconnected; }));
  }
}

TEST_F(ConformanceTest, AQpReportsItsState) {
  listen();
  start_connect(client);
  EXPECT_EQ(client.qp->state(), ConnectionState::kConnecting);
  EXPECT_FALSE(client.qp->supports(Opcode::kSend));
  ASSERT_TRUE(until([&] { return client.connected && server.connected; })) << client.detail;
  EXPECT_EQ(client.qp->state(), ConnectionState::kConnected);
  EXPECT_TRUE(client.qp->supports(Opcode::kSend));
  client.qp->disconnect();
  EXPECT_EQ(client.qp->state(), ConnectionState::kClosing);
  ASSERT_TRUE(both_ended());
  EXPECT_EQ(client.qp->state(), ConnectionState::kClosed);
  EXPECT_EQ(server.qp->state(), ConnectionState::kClosed);
}

TEST_F(ConformanceTest, KeepAliveIsChecked) {
  listen();
  for (const KeepAlive& wrong : {KeepAlive{.idle = std::chrono::milliseconds(10)},
                                 KeepAlive{.interval = std::chrono::hours(10)},
                                 KeepAlive{.probes = 0}, KeepAlive{.probes = 128}}) {
    const QpOptions options = client.options({.keep_alive = wrong});
    auto qp = device.connect(target, *client.pd, options, {}, client);
    ASSERT_FALSE(qp.ok());
    EXPECT_EQ(qp.status().code(), absl::StatusCode::kInvalidArgument) << qp.status();
    EXPECT_THAT(std::string(qp.status().message()), testing::HasSubstr("KeepAlive::"));
  }
  connect({.max_inline = 64, .keep_alive = {.idle = std::chrono::seconds(3), .probes = 2}});
  Region data(*client.pd, 64, Access::kNone), inbox(*server.pd, 64, Access::kLocalWrite);
  data.fill(3);
  Op& received = server.receive(inbox.sge());
  client.send(data.sge());
  ASSERT_TRUE(finish(received));
  EXPECT_EQ(inbox.differs(3), std::nullopt);
}

}  // namespace
}  // namespace mrpool::conformance
