// The whole device over real sockets.
#include <gtest/gtest.h>

#include <memory>
#include <thread>

#include "tests/unit/transport/uiwarp/transfer.h"
#include "transport/uiwarp/socket.h"

namespace mrpool::uiwarp::testing {
namespace {

class Loopback : public ::testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    reactor_ = *Reactor::create();
    pair_ =
        std::make_unique<Pair>(*reactor_, make_socket_network(), DeviceOptions{.crc = GetParam()});
  }
  std::unique_ptr<Reactor> reactor_;
  std::unique_ptr<Pair> pair_;
};

TEST_P(Loopback, ConnectsWithPrivateDataBothWays) {
  pair_->server.reply_data = "welcome";
  pair_->listen();
  pair_->dial("hello there");
  ASSERT_TRUE(pair_->until([&] { return pair_->client.connected && pair_->server.connected; }));
  EXPECT_EQ(pair_->server.request_data, "hello there");
  EXPECT_EQ(pair_->client.private_data, "welcome");
  EXPECT_EQ(pair_->client.info.ord, 16);
  EXPECT_EQ(pair_->client.qp->ord(), 16);
}

TEST_P(Loopback, RejectCarriesPrivateData) {
  pair_->server.reject = true;
  pair_->server.reply_data = "not you";
  pair_->listen();
  pair_->dial();
  ASSERT_TRUE(pair_->until([&] { return pair_->client.disconnected; }));
  EXPECT_TRUE(pair_->client.rejected);
  EXPECT_EQ(pair_->client.private_data, "not you");
  EXPECT_EQ(pair_->client.why.reason, DisconnectReason::kRejected);
}

TEST_P(Loopback, SendsOfEverySize) {
  pair_->connect();
  for (const size_t size : {1, 72, 4096, 40'000, 300'000}) run_sends(*pair_, size, 10);
}

TEST_P(Loopback, WritesAndReadsOfEverySize) {
  pair_->connect();
  for (const size_t size : {1, 64, 4096, 4097, 65'536, 131'072, 1'048'579}) {
    SCOPED_TRACE(size);
    run_write_and_read(*pair_, size);
  }
}

TEST_P(Loopback, FastRegistrationAndRemoteInvalidation) {
  pair_->connect();
  run_fast_registration(*pair_, 4096);
  run_fast_registration(*pair_, 200'000);
}

TEST_P(Loopback, GracefulCloseFlushesReceivesAndNotifiesBothSides) {
  pair_->connect();
  Buffer in(*pair_->server.pd, 64, Access::kLocalWrite);
  const Sge sge = in.sge();
  Recorded received;
  ASSERT_EQ(pair_->server.qp->post_recv({.completion = &received, .sges = {&sge, 1}}),
            PostStatus::kOk);
  pair_->client.qp->disconnect();
  ASSERT_TRUE(
      pair_->until([&] { return pair_->client.disconnected && pair_->server.disconnected; }));
  EXPECT_EQ(pair_->client.why.reason, DisconnectReason::kLocal);
  EXPECT_EQ(pair_->server.why.reason, DisconnectReason::kPeer);
  EXPECT_EQ(received.calls, 1);
  EXPECT_EQ(received.wc.status, WcStatus::kFlushed);
}

struct Keeper final : ListenHandler, QpEvents {
  void on_connect_request(std::unique_ptr<ConnectRequest> request) override {
    kept = std::move(request);
  }
  void on_connected(Qp&, const ConnectionInfo&) override {}
  void on_rejected(Qp&, std::span<const std::byte>) override {}
  void on_disconnected(Qp&, const Disconnect&) override {}
  std::unique_ptr<ConnectRequest> kept;
};

// Its peer detects it by the end of the stream; nothing else remains.
TEST(Request, ThatIsDroppedAfterItsLoopEndedLeavesNothing) {
  const Address address = *Address::parse("uiwarp://127.0.0.1:0");
  std::shared_ptr<Device> device = *Device::open(address);
  const std::weak_ptr<Device> left = device;
  auto there = *Reactor::create();
  auto here = *Reactor::create();
  Keeper keeper;
  auto listener = *device->listen(*there, address, keeper);
  {
    const auto pd = *device->alloc_pd();
    const auto cq = *device->create_cq(*here, {.depth = 16});
    Address to = address;
    to.port = listener->port();
    const QpOptions options{
        .send_cq = cq.get(), .recv_cq = cq.get(), .max_send_wr = 1, .max_recv_wr = 1};
    const auto qp = device->connect(to, *pd, options, {}, keeper);
    ASSERT_TRUE(qp.ok()) << qp.status();
    while (keeper.kept == nullptr) {
      here->poll();
      there->poll();
    }
  }
  listener.reset();
  std::thread([&] { there->poll(); }).join();  // the loop was that thread's
  keeper.kept.reset();
  device.reset();
  there.reset();
  EXPECT_TRUE(left.expired());
}

INSTANTIATE_TEST_SUITE_P(Crc, Loopback, ::testing::Bool(),
                         [](const auto& each) { return each.param ? "On" : "Off"; });

}  // namespace
}  // namespace mrpool::uiwarp::testing
