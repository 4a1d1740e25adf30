// Several reactors on several threads.
#include <atomic>
#include <cstring>
#include <thread>

#include "tests/conformance/fixture.h"
#include "tests/conformance/loop.h"

namespace mrpool::conformance {
namespace {

using std::chrono::milliseconds;

// The client lives on the test's own reactor, the server's connections on a loop of their own,
// while the listener stays with the client's.
class Threads : public ConformanceTest, public ListenHandler {
 protected:
  void on_connect_request(std::unique_ptr<ConnectRequest> request) override {
    // The request travels; it is accepted on the loop its Cqs belong to.
    remote.call([&] {
      auto qp = request->accept(*far->pd, far->options(server_options), {}, *far);
      EXPECT_TRUE(qp.ok()) << qp.status();
      if (qp.ok()) far->qp = std::move(*qp);
      request.reset();
    });
  }

  void SetUp() override {
    remote.call([&] { far = std::make_unique<Side>(device, *remote.reactor, "far"); });
    auto listening = device.listen(*reactor, environment().address, *this);
    ASSERT_TRUE(listening.ok()) << listening.status();
    listener = std::move(*listening);
    target.port = listener->port();
    start_connect(client);
    ASSERT_TRUE(until([&] { return client.connected; })) << client.detail;
    ASSERT_TRUE(far_until([&] { return far->connected; }));
  }
  void TearDown() override {
    client.qp.reset();
    remote.call([&] { far.reset(); });
  }

  // Both loops go on until `condition` holds on the far one.
  template <typename Condition>
  [[nodiscard]] bool far_until(Condition condition) {
    return until([&] {
      bool holds = false;
      remote.call([&] { holds = condition(); });
      return holds;
    });
  }

  Loop remote;
  QpOptions server_options;
  std::unique_ptr<Side> far;  // on `remote`
};

TEST_F(Threads, AcceptedOnAnotherReactorEverythingHappensThere) {
  std::unique_ptr<Region> inbox;
  std::atomic<bool> in_thread{false};
  struct Watch final : Completion {
    Watch(Reactor& home, std::atomic<bool>& flag)
        : Completion([](Completion& self, const WorkCompletion& wc) {
            auto& watch = static_cast<Watch&>(self);
            EXPECT_EQ(wc.status, WcStatus::kSuccess);
            watch.in_thread = watch.reactor.in_thread();
            ++watch.calls;
          }),
          reactor(home),
          in_thread(flag) {}
    Reactor& reactor;
    std::atomic<bool>& in_thread;
    std::atomic<int> calls{0};
  } watch(*remote.reactor, in_thread);
  remote.call([&] {
    inbox = std::make_unique<Region>(*far->pd, 64, Access::kLocalWrite);
    const Sge sge = inbox->sge();
    RecvRequest request;
    request.completion = &watch;
    request.sges = {&sge, 1};
    EXPECT_EQ(far->qp->post_recv(request), PostStatus::kOk);
  });
  Region outbox(*client.pd, 64, Access::kNone);
  outbox.fill(4);
  client.send(outbox.sge());
  ASSERT_TRUE(until([&] { return watch.calls == 1; }));
  EXPECT_TRUE(in_thread);
  EXPECT_TRUE(same_bytes(inbox->bytes(), outbox.bytes()));
  remote.call([&] { inbox.reset(); });
}

TEST_F(Threads, TrafficBothWays) {
  constexpr size_t kSize = 64 * 1024;
  std::unique_ptr<Region> theirs;
  remote.call([&] {
    theirs = std::make_unique<Region>(
        *far->pd, kSize, Access::kLocalWrite | Access::kRemoteWrite | Access::kRemoteRead);
  });
  Region local(*client.pd, kSize, sink_access());
  Region back(*client.pd, kSize, sink_access());
  for (uint8_t round = 1; round < 50; ++round) {
    local.fill(round);
    client.write(local.sge(), theirs->remote(), theirs->rkey());
    Op& read = client.read(back.sge(), theirs->remote(), theirs->rkey());
    ASSERT_TRUE(finish(read));
    ASSERT_TRUE(read.ok());
    ASSERT_TRUE(same_bytes(back.bytes(), local.bytes()));
  }
  EXPECT_TRUE(until([&] { return client.all_finished(); }));
  remote.call([&] { theirs.reset(); });
}

TEST_F(Threads, DeregistrationStopsAnotherReactorsPlacement) {
  constexpr size_t kSize = 256 * 1024;
  std::vector<std::byte> memory(kSize);
  std::unique_ptr<Mr> mr;
  remote.call([&] {
    auto made = far->pd->reg_mr(memory, Access::kLocalWrite | Access::kRemoteWrite);
    ASSERT_TRUE(made.ok()) << made.status();
    mr = std::move(*made);
  });
  Region local(*client.pd, kSize, Access::kNone);
  local.fill(9);
  const RemoteAddr address = mr->remote_addr();
  const Rkey key = mr->rkey();
  // A stream of WRITEs is under way on the other reactor when this thread ends the region.
  std::atomic<bool> started{false};
  std::thread ender([&] {
    while (!started) std::this_thread::yield();
    std::this_thread::sleep_for(milliseconds(5));
    mr.reset();
    // From here on the memory is ours alone: nothing may touch it.
    std::ranges::fill(memory, std::byte{0xee});
    started = false;
  });
  started = true;
  while (!client.disconnected) {
    ASSERT_TRUE(until([&] { return client.disconnected || client.all_finished(); }));
    if (client.disconnected) break;
    for (int i = 0; i < 8; ++i) client.write(local.sge(), address, key);
  }
  ender.join();
  ASSERT_TRUE(far_until([&] { return far->disconnected.has_value(); }));
  const auto touched =
      std::ranges::find_if(memory, [](std::byte b) { return b != std::byte{0xee}; });
  EXPECT_EQ(touched, memory.end())
      << "byte " << touched - memory.begin() << " was placed after the region had ended";
}

TEST_F(Threads, DeregistrationReturnsWhileOtherReactorsSleepOrWork) {
  std::unique_ptr<Region> theirs;
  remote.call([&] {
    theirs = std::make_unique<Region>(*far->pd, 4096, Access::kLocalWrite | Access::kRemoteWrite);
  });
  Region local(*client.pd, 4096, Access::kNone);
  std::vector<std::byte> memory(4096);
  for (int i = 0; i < 200; ++i) {
    auto mr = client.pd->reg_mr(memory, Access::kRemoteRead);
    ASSERT_TRUE(mr.ok()) << mr.status();
    if (i % 2 == 0) client.write(local.sge(), theirs->remote(), theirs->rkey());
    reactor->poll();
    mr->reset();  // one reactor has work half of the time and sleeps the other half
  }
  EXPECT_TRUE(until([&] { return client.all_finished(); }));
  remote.call([&] { theirs.reset(); });
}

TEST_F(Threads, RegistrationFromManyThreadsAtOnce) {
  std::vector<std::thread> threads;
  std::atomic<int> failures{0};
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      std::vector<std::byte> memory(4096);
      for (int i = 0; i < 200; ++i) {
        auto mr = client.pd->reg_mr(memory, Access::kRemoteRead);
        if (!mr.ok()) ++failures;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(failures, 0);
}

TEST_F(Threads, ManyConnectionsMoveAndGo) {
  // Each request is accepted on the far loop, used once, and dropped from either side.
  for (int i = 0; i < 40; ++i) {
    SCOPED_TRACE(i);
    client.qp.reset();
    ASSERT_TRUE(far_until([&] { return far->disconnected.has_value(); }));
    remote.call([&] { far = std::make_unique<Side>(device, *remote.reactor, "far"); });
    Side dialing(device, *reactor, "dialing");
    start_connect(dialing);
    ASSERT_TRUE(until([&] { return dialing.connected; })) << dialing.detail;
    ASSERT_TRUE(far_until([&] { return far->connected; }));
    std::unique_ptr<Region> inbox;
    Op* received = nullptr;
    remote.call([&] {
      inbox = std::make_unique<Region>(*far->pd, 16, Access::kLocalWrite);
      received = &far->receive(inbox->sge());
    });
    Region outbox(*dialing.pd, 16, Access::kNone);
    dialing.send(outbox.sge());
    ASSERT_TRUE(far_until([&] { return received->finished(); }));
    if (i % 2 == 0) {
      remote.call([&] { far->qp->disconnect(); });
      ASSERT_TRUE(until([&] { return dialing.disconnected.has_value(); }));
    }
    dialing.qp.reset();
    ASSERT_TRUE(far_until([&] { return far->disconnected.has_value(); }));
    remote.call([&] { inbox.reset(); });
  }
}

}  // namespace
}  // namespace mrpool::conformance
