// Whole connections over TLS: on sockets, and on a network that splits and delays.
#include "transport/uiwarp/tls_network.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>

#include "absl/strings/str_cat.h"
#include "mrpool/log.h"
#include "mrpool/tls.h"
#include "tests/sim/network.h"
#include "tests/sim/reactor.h"
#include "tests/unit/transport/uiwarp/tls_material.h"
#include "tests/unit/transport/uiwarp/transfer.h"
#include "transport/uiwarp/socket.h"
#include "transport/uiwarp/tls_session.h"

namespace mrpool::uiwarp::testing {
namespace {

using ::testing::HasSubstr;

std::shared_ptr<Network> over(std::shared_ptr<Network> wire, const TlsOptions& options) {
  auto context = TlsContext::create(options);
  EXPECT_TRUE(context.ok()) << context.status();
  return make_tls_network(*std::move(context), std::move(wire));
}

class TlsSockets : public ::testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    const TlsOptions options = GetParam() ? material_.certificates() : material_.psk();
    pair_ = std::make_unique<Pair>(*reactor_, over(make_socket_network(), options));
  }
  TlsMaterial material_;
  std::unique_ptr<Reactor> reactor_ = *Reactor::create();
  std::unique_ptr<Pair> pair_;
};

TEST_P(TlsSockets, ConnectsWithPrivateDataBothWays) {
  pair_->server.reply_data = "welcome";
  pair_->listen();
  pair_->dial("hello there");
  ASSERT_TRUE(pair_->until([&] { return pair_->client.connected && pair_->server.connected; }))
      << pair_->client.detail;
  EXPECT_EQ(pair_->server.request_data, "hello there");
  EXPECT_EQ(pair_->client.private_data, "welcome");
  EXPECT_GT(pair_->client.qp->memory_bytes(), TlsSession::kInputBytes);
}

TEST_P(TlsSockets, RejectCarriesPrivateData) {
  pair_->server.reject = true;
  pair_->server.reply_data = "not you";
  pair_->listen();
  pair_->dial();
  ASSERT_TRUE(pair_->until([&] { return pair_->client.disconnected; }));
  EXPECT_TRUE(pair_->client.rejected);
  EXPECT_EQ(pair_->client.private_data, "not you");
}

TEST_P(TlsSockets, TransfersOfEverySize) {
  pair_->connect();
  for (const size_t size : {1, 72, 4096, 40'000, 300'000}) run_sends(*pair_, size, 10);
  for (const size_t size : {1, 64, 4097, 65'536, 131'072, 1'048'579, 9'000'000}) {
    SCOPED_TRACE(size);
    run_write_and_read(*pair_, size);
  }
  run_fast_registration(*pair_, 200'000);
}

TEST_P(TlsSockets, ClosesInGoodOrderFromEitherSide) {
  pair_->connect();
  pair_->client.qp->disconnect();
  ASSERT_TRUE(
      pair_->until([&] { return pair_->client.disconnected && pair_->server.disconnected; }));
  EXPECT_EQ(pair_->client.why.reason, DisconnectReason::kLocal) << pair_->client.detail;
  EXPECT_EQ(pair_->server.why.reason, DisconnectReason::kPeer) << pair_->server.detail;
}

TEST_P(TlsSockets, ADroppedConnectionIsNotACut) {
  pair_->connect();
  pair_->server.qp->abort();
  ASSERT_TRUE(pair_->until([&] { return pair_->client.disconnected; }));
  EXPECT_EQ(pair_->client.why.reason, DisconnectReason::kPeer) << pair_->client.detail;
}

TEST_P(TlsSockets, ATerminateReachesThePeer) {
  pair_->connect();
  Buffer out(*pair_->client.pd, 64, Access::kNone);
  const Sge sge = out.sge();
  Recorded written;
  ASSERT_EQ(pair_->client.send({.completion = &written,
                                .opcode = Opcode::kRdmaWrite,
                                .sges = {&sge, 1},
                                .remote_addr = {0},
                                .rkey = Rkey{1}}),
            PostStatus::kOk);
  ASSERT_TRUE(
      pair_->until([&] { return pair_->client.disconnected && pair_->server.disconnected; }));
  EXPECT_EQ(pair_->client.why.reason, DisconnectReason::kTerminated) << pair_->client.detail;
  EXPECT_EQ(pair_->server.why.reason, DisconnectReason::kProtocol) << pair_->server.detail;
}

INSTANTIATE_TEST_SUITE_P(Tls, TlsSockets, ::testing::Bool(), [](const auto& each) {
  return each.param ? "Certificates" : "PreSharedKeys";
});

// Networks as TCP may be, and worse.
class TlsSeeded : public ::testing::TestWithParam<uint64_t> {};

TEST_P(TlsSeeded, TransfersArriveIntact) {
  const uint64_t seed = GetParam();
  SCOPED_TRACE(seed);
  const size_t transfers[] = {3, 50, 1500, 100'000};
  const size_t windows[] = {400, 65'536, 1 << 20};
  sim::NetworkOptions bad{.seed = seed};
  bad.max_transfer = transfers[seed % 4];
  bad.window = windows[seed / 4 % 3];
  bad.stall_per_million = seed % 5 == 0 ? 2000 : 0;
  TlsMaterial material;
  sim::SimReactor reactor;
  auto wire = std::make_shared<sim::SimNetwork>(reactor, bad);
  Pair pair(reactor, over(wire, material.psk()), {.crc = seed % 2 == 0, .seed = seed});
  pair.step = [&] { reactor.step(); };
  pair.connect();
  const size_t unit = seed % 4 == 0 ? 300 : 5000;
  run_sends(pair, 1, 3);
  run_sends(pair, unit, 20);
  run_write_and_read(pair, unit * 40);
  run_fast_registration(pair, unit);
  pair.client.qp->disconnect();
  ASSERT_TRUE(pair.until([&] { return pair.client.disconnected && pair.server.disconnected; }));
  EXPECT_EQ(pair.server.why.reason, DisconnectReason::kPeer) << pair.server.detail;
}

INSTANTIATE_TEST_SUITE_P(Seeds, TlsSeeded, ::testing::Range<uint64_t>(1, 13));

// Two devices with addresses of their own, and what the log gets.
class TlsAddresses : public ::testing::Test {
 protected:
  TlsAddresses() {
    set_log_sink([](void* self, LogLevel,
                    std::string_view line) { static_cast<TlsAddresses*>(self)->log_ += line; },
                 this);
  }
  ~TlsAddresses() override { set_log_sink(nullptr); }

  // Connects, and waits for the outcome on the side that connects.
  void meet(const std::string& accepts, const std::string& connects) {
    auto address = *Address::parse("uiwarp://127.0.0.1:0?" + accepts);
    auto target = Device::open(address);
    ASSERT_TRUE(target.ok()) << target.status();
    server_.device = *target;
    prepare(server_, **target);
    server_.options = options_of(server_);
    auto listener = (*target)->listen(*reactor_, address, server_);
    ASSERT_TRUE(listener.ok()) << listener.status();
    server_.listener = *std::move(listener);
    connect(connects);
  }
  void connect(const std::string& connects) {
    auto to = *Address::parse("uiwarp://127.0.0.1:1?" + connects);
    to.port = server_.listener->port();
    auto host = Device::open(to);
    ASSERT_TRUE(host.ok()) << host.status();
    host_ = *host;
    prepare(client_, **host);
    auto qp = (*host)->connect(to, *client_.pd, options_of(client_), {}, client_);
    ASSERT_TRUE(qp.ok()) << qp.status();
    client_.qp = *std::move(qp);
    for (int i = 0; i < 2'000'000 && !client_.connected && !client_.disconnected; ++i) {
      reactor_->poll();
    }
    for (int i = 0; i < 2000; ++i) reactor_->poll();
  }
  // The same listener, and a new connection of another device.
  void connect_again(const std::string& connects) {
    for (Side* side : {static_cast<Side*>(&server_), &client_}) {
      side->qp.reset();
      side->connected = side->disconnected = false;
      side->detail.clear();
    }
    client_.cq.reset();
    client_.pd.reset();
    connect(connects);
  }
  void prepare(Side& side, Device& device) {
    side.pd = *device.alloc_pd();
    side.cq = *device.create_cq(*reactor_, {.depth = 64});
  }
  static QpOptions options_of(Side& side) {
    return {.send_cq = side.cq.get(), .recv_cq = side.cq.get(), .max_send_wr = 8, .max_recv_wr = 8};
  }
  std::string psk(char digit = 'a', const std::string& identity = "host-1") {
    return "tls=psk&tls-psk=" + material_.psk(identity + ":" + std::string(64, digit) + "\n").psk;
  }

  TlsMaterial material_;
  std::unique_ptr<Reactor> reactor_ = *Reactor::create();
  std::shared_ptr<Device> host_;
  Server server_;
  Side client_;
  std::string log_;
};

TEST_F(TlsAddresses, OfTheSameKeyConnect) {
  meet(psk(), psk());
  EXPECT_TRUE(client_.connected) << client_.detail << log_;
  EXPECT_EQ(log_, "");
}

TEST_F(TlsAddresses, OfAnotherKeyAreRefusedWithTheReasonOnBothSides) {
  meet(psk('a'), psk('b'));
  EXPECT_EQ(client_.why.reason, DisconnectReason::kProtocol);
  EXPECT_THAT(client_.detail, HasSubstr("it has another key for the identity of this side"));
  EXPECT_THAT(log_, HasSubstr("uiwarp: a connection of 127.0.0.1:"));
  EXPECT_THAT(log_, HasSubstr("the peer has another key for its identity"));
}

TEST_F(TlsAddresses, WithoutTlsAreRefusedWithTheReasonOnBothSides) {
  meet(psk(), "crc=on");
  EXPECT_THAT(client_.detail, HasSubstr("the peer demands TLS; add tls="));
  EXPECT_THAT(log_, HasSubstr("the peer does not use it; add tls="));
}

TEST_F(TlsAddresses, WithTlsAreRefusedByATargetWithoutIt) {
  meet("crc=on", psk());
  EXPECT_THAT(client_.detail, HasSubstr("perhaps the peer does not use TLS"));
  EXPECT_THAT(log_, HasSubstr("the peer uses TLS, and this address has no option tls"));
}

TEST_F(TlsAddresses, GetNewKeysByAReload) {
  const std::string old_key = psk('a');
  const TlsOptions file = material_.psk("host-1:" + std::string(64, 'a') + "\n");
  meet("tls=psk&tls-psk=" + file.psk, old_key);
  ASSERT_TRUE(client_.connected) << client_.detail;
  const std::string name = file.psk.substr(file.psk.rfind('/') + 1);
  material_.file(name, "nothing");
  EXPECT_THAT(std::string(reload_tls(*server_.device).message()), HasSubstr(name + ", line 1"));
  EXPECT_TRUE(check_tls_accepts(*server_.device).ok());
  material_.file(name, "host-1:" + std::string(64, 'b') + "\n");
  ASSERT_TRUE(reload_tls(*server_.device).ok());
  EXPECT_TRUE(client_.connected && !client_.disconnected) << "connections keep theirs";

  connect_again(old_key);
  EXPECT_THAT(client_.detail, HasSubstr("it has another key"));
  connect_again(psk('b'));
  EXPECT_TRUE(client_.connected) << client_.detail;
}

// A silent stranger keeps nobody waiting.
TEST_F(TlsAddresses, ASilentStrangerDoesNotDelayOthers) {
  auto address = *Address::parse("uiwarp://127.0.0.1:0?" + psk());
  auto device = *Device::open(address);
  server_.device = device;
  prepare(server_, *device);
  server_.options = options_of(server_);
  server_.listener = *device->listen(*reactor_, address, server_);
  address.port = server_.listener->port();
  const int stranger = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(address.port);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(::connect(stranger, reinterpret_cast<sockaddr*>(&to), sizeof to), 0);
  prepare(client_, *device);
  client_.qp = *device->connect(address, *client_.pd, options_of(client_), {}, client_);
  for (int i = 0; i < 2'000'000 && !client_.connected && !client_.disconnected; ++i) {
    reactor_->poll();
  }
  EXPECT_TRUE(client_.connected) << client_.detail;
  ::close(stranger);
  client_.qp.reset();
  server_.qp.reset();
}

TEST_F(TlsAddresses, OfOtherOptionsThanTheDevicesAreRefused) {
  auto plain = *Device::open(*Address::parse("uiwarp://127.0.0.1:0"));
  prepare(client_, *plain);
  const auto to = *Address::parse("uiwarp://127.0.0.1:1?" + psk());
  const auto qp = plain->connect(to, *client_.pd, options_of(client_), {}, client_);
  EXPECT_THAT(std::string(qp.status().message()), HasSubstr("is not in force on this device"));
  client_.pd.reset();
  client_.cq.reset();
}

TEST_F(TlsAddresses, NeedWhatTheirSideOfTheConnectionNeeds) {
  const TlsOptions all = material_.certificates();
  const std::string own = "tls=cert&tls-cert=" + all.cert + "&tls-key=" + all.key;
  auto address = *Address::parse("uiwarp://127.0.0.1:1?" + own);
  auto target = *Device::open(address);
  prepare(client_, *target);
  const auto qp = target->connect(address, *client_.pd, options_of(client_), {}, client_);
  EXPECT_THAT(std::string(qp.status().message()), HasSubstr("connecting needs tls-ca=FILE"));
  client_.pd.reset();
  client_.cq.reset();

  address = *Address::parse("uiwarp://127.0.0.1:0?tls=cert&tls-ca=" + all.ca);
  auto host = *Device::open(address);
  const auto listener = host->listen(*reactor_, address, server_);
  EXPECT_THAT(std::string(listener.status().message()), HasSubstr("needs tls-cert=FILE"));

  const auto several = material_.psk("a:" + std::string(64, 'a') + "\nb:" + std::string(64, 'b'));
  address = *Address::parse("uiwarp://127.0.0.1:1?tls=psk&tls-psk=" + several.psk);
  auto chooser = *Device::open(address);
  prepare(client_, *chooser);
  const auto unchosen = chooser->connect(address, *client_.pd, options_of(client_), {}, client_);
  EXPECT_THAT(std::string(unchosen.status().message()), HasSubstr("tls-identity=NAME chooses"));
  client_.pd.reset();
  client_.cq.reset();
}

}  // namespace
}  // namespace mrpool::uiwarp::testing
