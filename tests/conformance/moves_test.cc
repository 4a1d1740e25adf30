// Qps that go from one reactor to another.
#include <atomic>
#include <functional>

#include "tests/conformance/fixture.h"
#include "tests/conformance/loop.h"

namespace mrpool::conformance {
namespace {

constexpr size_t kSize = 4096;

std::unique_ptr<Cq> make_cq(Device& device, Reactor& reactor, uint32_t depth = 4096) {
  auto cq = device.create_cq(reactor, {.depth = depth});
  EXPECT_TRUE(cq.ok()) << cq.status();
  return *std::move(cq);
}

// The server's Qp moves to `other`, which the test polls in turn with its own reactor.
class Moves : public ConformanceTest {
 protected:
  void SetUp() override {
    MRPOOL_NEEDS(caps().moves_qps);
    auto made = Reactor::create({.spin = Nanoseconds::zero()});
    ASSERT_TRUE(made.ok()) << made.status();
    other = *std::move(made);
    other_cq = make_cq(device, *other);
  }
  void TearDown() override {
    client.qp.reset();
    server.qp.reset();
  }

  absl::Status move_server() {
    if (absl::Status status = server.qp->detach(); !status.ok()) return status;
    return server.qp->attach(*other_cq, *other_cq);
  }

  template <typename Done>
  [[nodiscard]] bool until_both(Done done) {
    return until([&] {
      other->poll();
      return done();
    });
  }

  std::unique_ptr<Reactor> other;
  std::unique_ptr<Cq> other_cq;
};

TEST_F(Moves, TrafficContinuesBothWays) {
  connect();
  Region local(*client.pd, kSize, sink_access());
  Region far(*server.pd, kSize,
             sink_access() | Access::kRemoteRead | Access::kRemoteWrite | Access::kLocalWrite);
  local.fill(1);
  ASSERT_TRUE(finish(client.write(local.sge(), far.remote(), far.rkey())));
  ASSERT_EQ(move_server(), absl::OkStatus());
  EXPECT_TRUE(server.qp->connected());
  EXPECT_EQ(&server.qp->reactor(), other.get());
  EXPECT_EQ(server.qp->options().send_cq, other_cq.get());
  EXPECT_EQ(server.qp->options().recv_cq, other_cq.get());
  Op& read = client.read(local.sge(), far.remote(), far.rkey());
  Op& received = server.receive(far.sge());
  local.fill(2);
  client.send(local.sge());
  ASSERT_TRUE(until_both([&] { return read.finished() && received.finished(); }));
  EXPECT_TRUE(read.ok());
  EXPECT_EQ(received.wc.qp, server.qp.get());
  Op& answer = server.send(far.sge());
  Op& answered = client.receive(local.sge());
  ASSERT_TRUE(until_both([&] { return answer.finished() && answered.finished(); }));
  EXPECT_TRUE(answer.ok());
  EXPECT_TRUE(answered.ok());
}

TEST_F(Moves, WhatThePeerSentMeanwhileIsThereAfterwards) {
  connect();
  Region outbox(*client.pd, kSize, Access::kNone);
  Region inbox(*server.pd, kSize, Access::kLocalWrite);
  outbox.fill(3);
  Op& received = server.receive(inbox.sge());
  ASSERT_EQ(server.qp->detach(), absl::OkStatus());
  Op& sent = client.send(outbox.sge());
  ASSERT_TRUE(finish(sent));
  settle();
  EXPECT_FALSE(received.finished());
  ASSERT_EQ(server.qp->attach(*other_cq, *other_cq), absl::OkStatus());
  ASSERT_TRUE(until_both([&] { return received.finished(); }));
  EXPECT_TRUE(received.ok());
  EXPECT_TRUE(same_bytes(inbox.bytes(), outbox.bytes()));
}

TEST_F(Moves, CompletionsThatWereDueComeFromTheNewReactorInOrder) {
  connect();
  Region outbox(*server.pd, kSize, Access::kNone);
  Region inbox(*client.pd, kSize, Access::kLocalWrite);
  std::vector<Op*> sends;
  for (int i = 0; i < 8; ++i) client.receive(inbox.sge());
  for (int i = 0; i < 8; ++i) sends.push_back(&server.send(outbox.sge()));
  // From inside the first completion: the other seven are due, or will be.
  struct Mover final : Completion {
    explicit Mover(std::function<void()> call)
        : Completion(
              [](Completion& self, const WorkCompletion&) { static_cast<Mover&>(self).move(); }),
          move(std::move(call)) {}
    std::function<void()> move;
  };
  bool moved = false;
  Mover mover([&] {
    moved = true;
    EXPECT_EQ(server.qp->detach(), absl::OkStatus());
  });
  const Sge sge = outbox.sge();
  client.receive(inbox.sge());
  const WorkRequest last{.completion = &mover, .sges = {&sge, 1}};
  ASSERT_TRUE(server.qp->post_send(last).ok());
  Op& after = server.send(outbox.sge());
  client.receive(inbox.sge());
  ASSERT_TRUE(until([&] { return moved; }));
  const size_t before = server.finished.size();
  settle();
  EXPECT_EQ(server.finished.size(), before) << "called on the reactor it left";
  ASSERT_EQ(server.qp->attach(*other_cq, *other_cq), absl::OkStatus());
  ASSERT_TRUE(until_both([&] { return after.finished(); }));
  EXPECT_TRUE(after.ok());
  for (size_t i = 0; i < sends.size(); ++i) EXPECT_EQ(server.finished[i], sends[i]);
}

TEST_F(Moves, ThereAndBack) {
  connect();
  Region local(*client.pd, kSize, sink_access());
  Region far(*server.pd, kSize, Access::kRemoteRead | Access::kRemoteWrite | Access::kLocalWrite);
  for (uint8_t round = 1; round < 20; ++round) {
    local.fill(round);
    client.write(local.sge(), far.remote(), far.rkey());
    ASSERT_EQ(server.qp->detach(), absl::OkStatus());
    Cq& next = round % 2 == 1 ? *other_cq : *server.cq;
    ASSERT_EQ(server.qp->attach(next, next), absl::OkStatus());
    Op& read = client.read(local.sge(), far.remote(), far.rkey());
    ASSERT_TRUE(until_both([&] { return read.finished(); }));
    ASSERT_TRUE(read.ok());
    ASSERT_FALSE(local.differs(round));
  }
}

TEST_F(Moves, TheEndIsReportedOnTheNewReactor) {
  connect();
  Region inbox(*server.pd, kSize, Access::kLocalWrite);
  Op& waiting = server.receive(inbox.sge());
  ASSERT_EQ(server.qp->detach(), absl::OkStatus());
  client.qp->disconnect();
  settle();
  EXPECT_FALSE(server.disconnected);
  ASSERT_EQ(server.qp->attach(*other_cq, *other_cq), absl::OkStatus());
  ASSERT_TRUE(until_both([&] { return server.disconnected && client.disconnected; }));
  EXPECT_EQ(server.disconnected, DisconnectReason::kPeer);
  EXPECT_EQ(waiting.status(), WcStatus::kFlushed);
}

TEST_F(Moves, DestroyedWhileDetachedItFlushes) {
  connect();
  Region inbox(*server.pd, kSize, Access::kLocalWrite);
  Op& waiting = server.receive(inbox.sge());
  Op& sending = server.send(inbox.sge());
  ASSERT_EQ(server.qp->detach(), absl::OkStatus());
  EXPECT_EQ(server.qp->state(), ConnectionState::kDetached);
  EXPECT_FALSE(server.qp->connected());
  EXPECT_EQ(server.try_post({.opcode = Opcode::kSend}), PostStatus::kNotConnected);
  EXPECT_EQ(server.try_receive({}), PostStatus::kNotConnected);
  std::thread([&] { server.qp.reset(); }).join();
  EXPECT_EQ(waiting.status(), WcStatus::kFlushed);
  EXPECT_TRUE(sending.finished());
  EXPECT_FALSE(server.disconnected);
  ASSERT_TRUE(until([&] { return client.disconnected.has_value(); }));
  // The places in the Cq that it left are free again.
  EXPECT_EQ(server.cq->reactor().poll(), 0u);
}

TEST_F(Moves, CompletionsOfItsEndMayCallIt) {
  connect();
  struct Again final : Completion {
    explicit Again(std::function<void(Qp&)> f)
        : Completion([](Completion& self, const WorkCompletion& wc) {
            static_cast<Again&>(self).call(*wc.qp);
          }),
          call(std::move(f)) {}
    std::function<void(Qp&)> call;
  };
  bool called = false;
  Again again([&](Qp& qp) {
    called = true;
    EXPECT_EQ(qp.post_send(WorkRequest{}).status, PostStatus::kNotConnected);
    EXPECT_EQ(qp.post_recv(RecvRequest{}), PostStatus::kNotConnected);
    qp.disconnect();
    qp.abort();
  });
  RecvRequest receive;
  receive.completion = &again;
  ASSERT_EQ(server.qp->post_recv(receive), PostStatus::kOk);
  ASSERT_EQ(server.qp->detach(), absl::OkStatus());
  server.qp.reset();
  EXPECT_TRUE(called);
}

TEST_F(Moves, RefusalsNameTheReasonAndChangeNothing) {
  connect();
  EXPECT_EQ(server.qp->attach(*other_cq, *other_cq).code(), absl::StatusCode::kFailedPrecondition);
  ASSERT_EQ(server.qp->detach(), absl::OkStatus());
  EXPECT_EQ(server.qp->attach(*server.cq, *other_cq).code(), absl::StatusCode::kInvalidArgument);
  const auto tiny = make_cq(device, *other, 1);
  EXPECT_EQ(server.qp->attach(*tiny, *tiny).code(), absl::StatusCode::kResourceExhausted);
  const auto opened = Device::open(environment().address);
  ASSERT_TRUE(opened.ok()) << opened.status();
  const auto foreign = make_cq(**opened, *other);
  EXPECT_EQ(server.qp->attach(*foreign, *foreign).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(server.qp->state(), ConnectionState::kDetached);
  ASSERT_EQ(server.qp->attach(*other_cq, *other_cq), absl::OkStatus());
  EXPECT_EQ(server.qp->state(), ConnectionState::kConnected);
}

TEST_F(Moves, NotBeforeItIsConnectedAndNotAfterwards) {
  listen();
  start_connect(client);
  EXPECT_EQ(client.qp->detach().code(), absl::StatusCode::kFailedPrecondition);
  ASSERT_TRUE(until([&] { return client.connected && server.connected; }));
  server.qp->disconnect();
  EXPECT_EQ(server.qp->detach().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(Moves, NotWithSharedReceives) {
  MRPOOL_NEEDS(caps().srq);
  auto srq = server.pd->create_srq(*reactor, {.max_wr = 4});
  ASSERT_TRUE(srq.ok()) << srq.status();
  connect({}, {.srq = srq->get()});
  EXPECT_EQ(server.qp->detach().code(), absl::StatusCode::kFailedPrecondition);
  server.qp.reset();
}

TEST_F(Moves, ACallWhileDetachedIsMisuse) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  connect();
  ASSERT_EQ(server.qp->detach(), absl::OkStatus());
  EXPECT_DEATH(server.qp->disconnect(), "is detached");
  EXPECT_DEATH(server.qp->abort(), "is detached");
  EXPECT_DEATH((void)server.qp->detach(), "is detached");
}

TEST_F(ConformanceTest, ADeviceThatMovesNoQpsReportsIt) {
  connect();
  if (caps().moves_qps) return;
  EXPECT_EQ(server.qp->detach().code(), absl::StatusCode::kUnimplemented);
  EXPECT_EQ(server.qp->attach(*server.cq, *server.cq).code(), absl::StatusCode::kUnimplemented);
}

// The far Qp goes round between two loops while the client writes to it and reads back.
TEST_F(Moves, BetweenThreadsUnderLoad) {
  Loop loops[2];
  std::unique_ptr<Side> far;
  std::unique_ptr<Cq> cqs[2];
  std::unique_ptr<Region> theirs;
  struct Accept final : ListenHandler {
    explicit Accept(std::function<void(std::unique_ptr<ConnectRequest>)> f) : call(std::move(f)) {}
    void on_connect_request(std::unique_ptr<ConnectRequest> request) override {
      call(std::move(request));
    }
    std::function<void(std::unique_ptr<ConnectRequest>)> call;
  };
  loops[0].call([&] {
    far = std::make_unique<Side>(device, *loops[0].reactor, "far");
    theirs = std::make_unique<Region>(
        *far->pd, kSize, Access::kLocalWrite | Access::kRemoteWrite | Access::kRemoteRead);
  });
  for (int i = 0; i < 2; ++i) {
    loops[i].call([&] { cqs[i] = make_cq(device, *loops[i].reactor); });
  }
  Accept accept([&](std::unique_ptr<ConnectRequest> request) {
    loops[0].call([&] {
      auto qp = request->accept(*far->pd, far->options(), {}, *far);
      ASSERT_TRUE(qp.ok()) << qp.status();
      far->qp = *std::move(qp);
      request.reset();
    });
  });
  auto listening = device.listen(*reactor, environment().address, accept);
  ASSERT_TRUE(listening.ok()) << listening.status();
  target.port = (*listening)->port();
  start_connect(client);
  const auto far_connected = [&] {
    bool connected = false;
    loops[0].call([&] { connected = far->connected; });
    return client.connected && connected;
  };
  ASSERT_TRUE(until(far_connected));

  Region local(*client.pd, kSize, sink_access());
  for (int round = 1; round <= 100; ++round) {
    local.fill(uint8_t(round));
    client.write(local.sge(), theirs->remote(), theirs->rkey());
    Op& read = client.read(local.sge(), theirs->remote(), theirs->rkey());
    reactor->poll();
    absl::Status status;
    loops[(round + 1) % 2].call([&] { status = far->qp->detach(); });
    ASSERT_EQ(status, absl::OkStatus());
    loops[round % 2].call([&] { status = far->qp->attach(*cqs[round % 2], *cqs[round % 2]); });
    ASSERT_EQ(status, absl::OkStatus());
    ASSERT_TRUE(finish(read));
    ASSERT_TRUE(read.ok());
    ASSERT_FALSE(local.differs(uint8_t(round)));
  }
  client.qp.reset();
  loops[0].call([&] { far->qp.reset(); });
  loops[1].call([&] { cqs[1].reset(); });
  loops[0].call([&] {
    cqs[0].reset();
    theirs.reset();
    far.reset();
  });
}

}  // namespace
}  // namespace mrpool::conformance
