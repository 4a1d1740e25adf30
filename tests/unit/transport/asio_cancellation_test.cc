// Cancellation of the operations of mrpool/asio.h: `operation || timer` returns, whatever it is.
#include <gtest/gtest.h>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <memory>
#include <vector>

#include "mrpool/asio.h"

namespace mrpool {
namespace {

using boost::asio::experimental::awaitable_operators::operator||;
// for
using boost::asio::awaitable;

constexpr RwLimits kLimits{.max_operations = 2, .max_transfer = 4096, .max_segments = 1};
constexpr size_t kTimer = 1;  // which side of `||` was first

class Cancellation : public ::testing::Test {
 protected:
  Cancellation() { EXPECT_TRUE(listener.listen(*device, address).ok()); }

  QpOptions options() {
    return {.send_cq = cq.get(),
            .recv_cq = cq.get(),
            .max_send_wr = 16 + rw_queue_needs(device->caps(), kLimits).send_wr,
            .max_recv_wr = 16};
  }
  absl::Status dial() {
    Address target = address;
    target.port = listener.port();
    return client.connect(*device, target, *pd, options());
  }

  // Runs a coroutine to its end; fails when that does not come.
  template <typename Body>
  void run(Body body) {
    bool ended = false;
    boost::asio::co_spawn(io_context(*reactor), body(), [&](std::exception_ptr error) {
      EXPECT_FALSE(error);
      ended = true;
    });
    const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (!ended) {
      ASSERT_LT(std::chrono::steady_clock::now(), limit) << "the operation does not return";
      reactor->poll();
    }
  }
  awaitable<void> later() {
    boost::asio::steady_timer timer(io_context(*reactor), std::chrono::milliseconds(5));
    co_await timer.async_wait(boost::asio::use_awaitable);
  }
  awaitable<void> connected() {
    EXPECT_TRUE(dial().ok());
    auto request = co_await listener.async_accept();
    EXPECT_TRUE(server.accept(*request, *pd, options()).ok());
    EXPECT_TRUE((co_await client.async_connected()).ok());
    EXPECT_TRUE((co_await server.async_connected()).ok());
  }

  const Address address = *Address::parse("uiwarp://127.0.0.1:0");
  std::shared_ptr<Device> device = *Device::open(address);
  std::unique_ptr<Reactor> reactor = *Reactor::create({.spin = Nanoseconds::zero()});
  std::unique_ptr<Pd> pd = *device->alloc_pd();
  std::unique_ptr<Cq> cq = *device->create_cq(*reactor, {.depth = 1024});
  std::vector<std::byte> bytes = std::vector<std::byte>(4096);
  std::unique_ptr<Mr> mr = *pd->reg_mr(bytes, Access::kLocalWrite | Access::kRemoteRead);
  AsioListener listener{*reactor};
  AsioQp client{*reactor};
  AsioQp server{*reactor};
};

TEST_F(Cancellation, OfAnAcceptLeavesTheListenerAsItIs) {
  run([&]() -> awaitable<void> {
    EXPECT_EQ((co_await (listener.async_accept() || later())).index(), kTimer);
    EXPECT_TRUE(dial().ok());
    EXPECT_NE(co_await listener.async_accept(), nullptr);
  });
}

TEST_F(Cancellation, OfTheWaitForAConnectionLeavesTheAttempt) {
  run([&]() -> awaitable<void> {
    EXPECT_TRUE(dial().ok());
    EXPECT_EQ((co_await (client.async_connected() || later())).index(), kTimer);
    auto request = co_await listener.async_accept();
    EXPECT_TRUE(server.accept(*request, *pd, options()).ok());
    EXPECT_TRUE((co_await client.async_connected()).ok());
  });
}

TEST_F(Cancellation, OfTheWaitForTheEndLeavesTheConnection) {
  run([&]() -> awaitable<void> {
    co_await connected();
    EXPECT_EQ((co_await (client.async_disconnected() || later())).index(), kTimer);
    EXPECT_TRUE(client->connected());
    server->disconnect();
    EXPECT_EQ(co_await client.async_disconnected(), DisconnectReason::kPeer);
  });
}

TEST_F(Cancellation, OfAGetLeavesThePool) {
  auto pool = *MrPool::create(*pd, {.count = 1});
  run([&]() -> awaitable<void> {
    MrPool::Lease only = pool->get();
    EXPECT_EQ((co_await (async_get(*pool, *reactor) || later())).index(), kTimer);
    only.reset();
    EXPECT_TRUE(co_await async_get(*pool, *reactor));
  });
}

TEST_F(Cancellation, OfAPostedReceiveAbortsTheQp) {
  run([&]() -> awaitable<void> {
    co_await connected();
    const Sge sge = mr->sge(0, 64);
    EXPECT_EQ((co_await (async_receive(*client, {&sge, 1}) || later())).index(), kTimer);
    EXPECT_FALSE(client->connected());
    EXPECT_EQ(co_await client.async_disconnected(), DisconnectReason::kLocal);
  });
}

TEST_F(Cancellation, OfATransferThatWaitsLeavesTheConnection) {
  const RwQueueNeeds needs = rw_queue_needs(device->caps(), kLimits);
  auto pool = *MrPool::create(*pd, {.count = 1, .access = needs.pool_access});
  run([&]() -> awaitable<void> {
    co_await connected();
    auto context = *RwContext::create(*client, pool.get(), kLimits);
    MrPool::Lease only = pool->get();
    const Sge sge = mr->sge(0, 64);
    const RemoteBuffer remote{mr->remote_addr(), 64, mr->rkey()};
    const auto result = co_await (
        async_transfer(*context, *reactor, RwDirection::kRead, {&sge, 1}, remote) || later());
    EXPECT_EQ(result.index(), kTimer);
    EXPECT_TRUE(client->connected());
    EXPECT_EQ(context->waiting(), 0u);
    only.reset();
    const auto [started, status] =
        co_await async_transfer(*context, *reactor, RwDirection::kRead, {&sge, 1}, remote);
    EXPECT_EQ(started, PostStatus::kOk);
    EXPECT_EQ(status, WcStatus::kSuccess);
  });
}

TEST_F(Cancellation, ASecondAcceptNextToTheFirstIsMisuse) {
  const auto ignore = [](std::unique_ptr<ConnectRequest>) {};
  listener.async_accept(ignore);
  EXPECT_DEATH(listener.async_accept(ignore), "async_accept: the AsioListener at 0x.* has one");
  listener.close();
}

TEST_F(Cancellation, FailuresToConnectHaveTheirOwnCodes) {
  run([&]() -> awaitable<void> {
    Address nowhere = address;
    nowhere.host = "no-such-host.invalid";
    nowhere.port = 1;
    EXPECT_TRUE(client.connect(*device, nowhere, *pd, options()).ok());
    EXPECT_EQ((co_await client.async_connected()).code(), absl::StatusCode::kNotFound);
  });
}

}  // namespace
}  // namespace mrpool
