// Bad requests, full queues, and ends in the middle of everything.
#include <cstdlib>
#include <random>
#include <thread>

#include "tests/conformance/fixture.h"

namespace mrpool::conformance {
namespace {

class Errors : public ConformanceTest {
 protected:
  // Everything on `side` was called once, in the order of posting per queue.
  static void expect_in_order(const Side& side) {
    std::vector<const Op*> sends, receives;
    for (const Op& op : side.ops) (op.opcode == Opcode::kRecv ? receives : sends).push_back(&op);
    EXPECT_TRUE(std::ranges::equal(side.finished_sends(), sends)) << side.name << ": send queue";
    EXPECT_TRUE(std::ranges::equal(side.finished_receives(), receives))
        << side.name << ": receive queue";
    // Once flushed, always flushed.
    for (const auto& queue : {sends, receives}) {
      const auto first = std::ranges::find_if(
          queue, [](const Op* op) { return op->status() != WcStatus::kSuccess; });
      for (auto it = first; it != queue.end(); ++it) {
        EXPECT_NE((*it)->status(), WcStatus::kSuccess) << side.name;
      }
    }
  }
};

TEST_F(Errors, AnEndFlushesInOrder) {
  connect();
  Region memory(*client.pd, 4096, Access::kLocalWrite);
  for (int i = 0; i < 64; ++i) client.receive(memory.sge(i * 64, 64));
  client.qp->abort();
  EXPECT_FALSE(client.disconnected) << "told from inside the call";
  ASSERT_TRUE(both_ended());
  expect_in_order(client);
  for (const Op& op : client.ops) EXPECT_EQ(op.status(), WcStatus::kFlushed);
}

TEST_F(Errors, AnEndUnderLoadFlushesInOrderOnBothSides) {
  for (int round = 0; round < 20; ++round) {
    SCOPED_TRACE(round);
    Side a(device, *reactor, "a"), b(device, *reactor, "b");
    Region near(*a.pd, 1 << 20, sink_access()),
        far(*b.pd, 1 << 20, Access::kLocalWrite | Access::kRemoteWrite | Access::kRemoteRead);
    acceptor.server = &b;
    if (listener == nullptr) listen();
    start_connect(a);
    ASSERT_TRUE(until([&] { return a.connected && b.connected; }))
        << a.detail << ", accepted: " << acceptor.accepted << ", b: " << b.detail;
    for (int i = 0; i < 30; ++i) {
      a.receive(near.sge(0, 64));
      b.receive(far.sge(0, 64));
    }
    for (int i = 0; i < 20; ++i) {
      a.write(near.sge(4096, 100'000), far.remote(4096), far.rkey());
      a.read(near.sge(200'000, 100'000), far.remote(200'000), far.rkey());
      a.send(near.sge(0, 64));
      b.send(far.sge(0, 64));
    }
    for (int i = 0; i < round * 3; ++i) reactor->poll();
    switch (round % 4) {
      case 0:
        a.qp->abort();
        break;
      case 1:
        b.qp->abort();
        break;
      case 2:
        a.qp->disconnect();
        break;
      case 3:
        b.qp.reset();
        break;  // as when its process dies
    }
    ASSERT_TRUE(until([&] { return a.disconnected && (b.disconnected || !b.qp); }));
    EXPECT_TRUE(a.all_finished());
    EXPECT_TRUE(b.all_finished());
    expect_in_order(a);
    expect_in_order(b);
    a.qp.reset();
    b.qp.reset();
  }
}

TEST_F(Errors, DestructionFlushesFromInside) {
  connect();
  Region memory(*client.pd, 64, Access::kLocalWrite);
  for (int i = 0; i < 10; ++i) client.receive(memory.sge());
  client.qp.reset();
  EXPECT_TRUE(client.all_finished());
  expect_in_order(client);
}

TEST_F(Errors, PostingToADeadQpIsRefused) {
  connect();
  Region memory(*client.pd, 64, Access::kLocalWrite);
  const Sge sge = memory.sge();
  client.qp->abort();
  ASSERT_TRUE(both_ended());
  EXPECT_EQ(client.try_post({.opcode = Opcode::kSend, .sges = {&sge, 1}}),
            PostStatus::kNotConnected);
  EXPECT_NE(client.try_receive({&sge, 1}), PostStatus::kOk);
}

TEST_F(Errors, AFullSendQueueIsReported) {
  connect({.max_send_wr = 8, .ord = 1}, {.ird = 1});
  Region remote(*server.pd, 4096, Access::kRemoteRead);
  Region local(*client.pd, 4096, sink_access());
  const Sge sge = local.sge();
  const WorkRequest read{.opcode = Opcode::kRdmaRead,
                         .sges = {&sge, 1},
                         .remote_addr = remote.remote(),
                         .rkey = remote.rkey()};
  // The loop does not run between the posts, so nothing completes.
  for (int i = 0; i < 8; ++i) ASSERT_EQ(client.try_post(read), PostStatus::kOk) << i;
  EXPECT_EQ(client.try_post(read), PostStatus::kQueueFull);
  ASSERT_TRUE(until([&] { return client.all_finished(); }));
  EXPECT_EQ(client.try_post(read), PostStatus::kOk);
  EXPECT_TRUE(until([&] { return client.all_finished(); }));
  for (const Op& op : client.ops) EXPECT_TRUE(op.ok());
}

TEST_F(Errors, AFullReceiveQueueIsReported) {
  connect({.max_recv_wr = 4});
  Region memory(*client.pd, 64, Access::kLocalWrite);
  const Sge sge = memory.sge();
  for (int i = 0; i < 4; ++i) ASSERT_EQ(client.try_receive({&sge, 1}), PostStatus::kOk) << i;
  EXPECT_EQ(client.try_receive({&sge, 1}), PostStatus::kQueueFull);
}

TEST_F(Errors, AChainIsTakenUpToTheRefusedOne) {
  connect();
  Region inbox(*server.pd, 64, Access::kLocalWrite);
  Region outbox(*client.pd, 64, Access::kNone);
  Op& received = server.receive(inbox.sge());
  const Sge good = outbox.sge();
  const std::vector<Sge> many(client.options().max_send_sge + 1, outbox.sge(0, 1));
  Op& sent = client.ops.emplace_back(client, Opcode::kSend);
  WorkRequest third{.opcode = Opcode::kSend, .sges = {&good, 1}};
  WorkRequest second{.next = &third, .opcode = Opcode::kSend, .sges = many};
  WorkRequest first{.next = &second, .completion = &sent, .sges = {&good, 1}};
  const PostResult result = client.qp->post_send(first);
  EXPECT_EQ(result.status, PostStatus::kTooManySges);
  EXPECT_EQ(result.refused, &second);
  ASSERT_TRUE(finish(received));
  EXPECT_TRUE(received.ok());
  ASSERT_TRUE(finish(sent));
  settle();
  EXPECT_TRUE(client.qp->connected());
}

TEST_F(Errors, TooManySgesAreRefused) {
  connect();
  Region memory(*client.pd, 4096, sink_access());
  const std::vector<Sge> sends(client.options().max_send_sge + 1, memory.sge(0, 1));
  const std::vector<Sge> receives(client.options().max_recv_sge + 1, memory.sge(0, 1));
  const std::vector<Sge> sinks(caps().max_read_sge + 1, memory.sge(0, 1));
  EXPECT_EQ(client.try_post({.opcode = Opcode::kSend, .sges = sends}), PostStatus::kTooManySges);
  EXPECT_EQ(client.try_receive(receives), PostStatus::kTooManySges);
  EXPECT_EQ(client.try_post({.opcode = Opcode::kRdmaRead, .sges = sinks}),
            PostStatus::kTooManySges);
}

TEST_F(Errors, AMessageLongerThanItsReceiveEndsTheConnection) {
  connect();
  Region inbox(*server.pd, 4096, Access::kLocalWrite);
  Region outbox(*client.pd, 65, Access::kNone);
  outbox.fill(3);
  Op& received = server.receive(inbox.sge(0, 64));
  client.send(outbox.sge());
  ASSERT_TRUE(both_ended());
  EXPECT_EQ(received.status(), WcStatus::kLocalLength);
  EXPECT_FALSE(inbox.differs(0, 64, 4032));
}

TEST_F(Errors, ReadWithInvalidateNeedsADeviceThatHasIt) {
  connect();
  if (caps().read_with_inv) return;  // Invalidation.ReadWithInvalidate... runs it
  Region memory(*client.pd, 64, sink_access());
  const Sge sge = memory.sge();
  EXPECT_EQ(client.try_post({.opcode = Opcode::kRdmaReadWithInv, .sges = {&sge, 1}}),
            PostStatus::kUnsupported);
}

TEST_F(Errors, AMessageWithoutAReceiveAffectsNoOtherConnection) {
  connect();
  Region outbox(*client.pd, 64, Access::kNone);
  client.send(outbox.sge());
  // iWARP ends the connection; InfiniBand retries until it gives up.
  settle();
  Side a(device, *reactor, "second client"), b(device, *reactor, "second server");
  acceptor.server = &b;
  start_connect(a);
  ASSERT_TRUE(until([&] { return a.connected && b.connected; }))
      << a.detail << ", accepted: " << acceptor.accepted << ", b: " << b.detail;
  client.qp.reset();
  server.qp.reset();
}

TEST_F(Errors, OptionsBeyondTheCapsAreRefusedAtTheCall) {
  listen();
  const auto refused = [&](QpOptions options) {
    const auto qp = device.connect(target, *client.pd, client.options(options), {}, client);
    return qp.status().code() == absl::StatusCode::kInvalidArgument ||
           qp.status().code() == absl::StatusCode::kResourceExhausted;
  };
  EXPECT_TRUE(refused({.max_send_wr = caps().max_qp_wr + 1}));
  EXPECT_TRUE(refused({.max_recv_wr = caps().max_qp_wr + 1}));
  EXPECT_TRUE(refused({.max_send_sge = caps().max_sge + 1}));
  EXPECT_TRUE(refused({.max_recv_sge = caps().max_sge + 1}));
}

TEST_F(Errors, APostFromAnotherThreadIsReported) {
  // In release builds the check is a switch; the child starts with it on.
  ::setenv("MRPOOL_CHECK_THREADS", "1", 1);
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  connect();
  EXPECT_DEATH(std::thread([&] { (void)client.qp->post_send(WorkRequest{}); }).join(),
               "Qp::post_send: the Reactor at 0x.* runs on another thread");
  EXPECT_DEATH(std::thread([&] { (void)client.qp->post_recv(RecvRequest{}); }).join(),
               "Qp::post_recv: the Reactor at 0x.* runs on another thread");
}

TEST_F(Errors, CallsFromAnotherThreadAreReportedInEveryBuild) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  connect();
  EXPECT_DEATH(std::thread([&] { client.qp->disconnect(); }).join(), "Qp::disconnect: the Reactor");
  EXPECT_DEATH(std::thread([&] { client.qp->abort(); }).join(), "Qp::abort: the Reactor");
  EXPECT_DEATH(std::thread([&] { (void)device.create_cq(*reactor, {.depth = 1}); }).join(),
               "Device::create_cq: the Reactor");
}

TEST_F(Errors, RequestsPostedInsideCompletionsAreFine) {
  // A ping-pong that lives in done() only, and ends with a disconnect from there.
  connect();
  struct Player final : Completion {
    explicit Player(Side& s)
        : Completion([](Completion& self, const WorkCompletion& wc) {
            static_cast<Player&>(self).received(wc);
          }),
          side(s),
          memory(*s.pd, 64, Access::kLocalWrite) {}
    void expect() {
      const Sge sge = memory.sge();
      RecvRequest request;
      request.completion = this;
      request.sges = {&sge, 1};
      EXPECT_EQ(side.qp->post_recv(request), PostStatus::kOk);
    }
    void hit() {
      const Sge sge = memory.sge();
      side.send(sge);
    }
    void received(const WorkCompletion& wc) {
      if (wc.status != WcStatus::kSuccess) return;
      if (++count == 500) return side.qp->disconnect();
      expect();
      hit();
    }
    Side& side;
    Region memory;
    int count = 0;
  } left(client), right(server);
  left.expect();
  right.expect();
  left.hit();
  ASSERT_TRUE(until([&] { return client.disconnected && server.disconnected; }));
  EXPECT_GE(left.count, 499);
  EXPECT_GE(right.count, 499);
  client.qp.reset();
  server.qp.reset();
}

TEST_F(Errors, EndingFromInsideACompletionIsFine) {
  // As above, but the side that receives the message aborts, or destroys its peer's Qp.
  for (int round = 0; round < 4; ++round) {
    SCOPED_TRACE(round);
    Side a(device, *reactor, "a"), b(device, *reactor, "b");
    acceptor.server = &b;
    if (listener == nullptr) listen();
    start_connect(a);
    ASSERT_TRUE(until([&] { return a.connected && b.connected; }))
        << a.detail << ", accepted: " << acceptor.accepted << ", b: " << b.detail;
    struct Ender final : Completion {
      Ender(Side& own, Side& other, int how_it_ends)
          : Completion([](Completion& self, const WorkCompletion&) {
              auto& ender = static_cast<Ender&>(self);
              if (std::exchange(ender.called, true)) return;
              if (ender.how == 0) ender.side.qp->abort();
              if (ender.how == 1) ender.side.qp->disconnect();
              if (ender.how == 2) ender.peer.qp.reset();
              if (ender.how == 3) ender.peer.qp->abort();
            }),
            side(own),
            peer(other),
            how(how_it_ends) {}
      Side& side;
      Side& peer;
      int how;
      bool called = false;
    } ender(b, a, round);
    Region inbox(*b.pd, 64, Access::kLocalWrite), outbox(*a.pd, 64, Access::kNone);
    const Sge sge = inbox.sge();
    RecvRequest request;
    request.completion = &ender;
    request.sges = {&sge, 1};
    ASSERT_EQ(b.qp->post_recv(request), PostStatus::kOk);
    a.send(outbox.sge());
    ASSERT_TRUE(until([&] { return ender.called && b.disconnected; }));
    ASSERT_TRUE(until([&] { return a.qp == nullptr || a.disconnected; }));
    a.qp.reset();
    b.qp.reset();
  }
}

}  // namespace
}  // namespace mrpool::conformance
