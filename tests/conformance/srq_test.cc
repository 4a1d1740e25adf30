// Receives shared by several connections.
#include <cstring>

#include "tests/conformance/fixture.h"

namespace mrpool::conformance {
namespace {

constexpr size_t kSlots = 32;
constexpr size_t kSlotSize = 64;

// A receive that may stay in the shared queue until that goes.
struct Slot final : Completion {
  Slot()
      : Completion([](Completion& self, const WorkCompletion& completed) {
          auto& slot = static_cast<Slot&>(self);
          ++slot.calls;
          slot.wc = completed;
        }) {}
  bool posted = false;
  int calls = 0;
  WorkCompletion wc;
};

struct Limits final : SrqEvents {
  void on_srq_limit(Srq& srq_in) override {
    ++calls;
    srq = &srq_in;
  }
  int calls = 0;
  Srq* srq = nullptr;
};

class SharedReceives : public ConformanceTest {
 protected:
  void SetUp() override {
    MRPOOL_NEEDS(caps().srq);
    auto made =
        server.pd->create_srq(*reactor, {.max_wr = kSlots, .max_sge = 1, .events = &limits});
    ASSERT_TRUE(made.ok()) << made.status();
    srq = std::move(*made);
    inbox = std::make_unique<Region>(*server.pd, kSlots * kSlotSize, Access::kLocalWrite);
    // Two connections whose server sides share Pd and Srq.
    acceptor.options.srq = srq.get();
    acceptor.options.receive_wait = std::chrono::minutes(10);
    listen();
    start_connect(client);
    ASSERT_TRUE(until([&] { return client.connected && server.connected; })) << client.detail;
    acceptor.server = &other_server;
    std::swap(other_server.pd, server.pd);
    start_connect(other_client);
    ASSERT_TRUE(until([&] { return other_client.connected && other_server.connected; }))
        << other_client.detail;
    std::swap(other_server.pd, server.pd);
  }
  void TearDown() override {
    for (Side* side : {&client, &server, &other_client, &other_server}) side->qp.reset();
    srq.reset();
    for (const Slot& slot : slots) EXPECT_EQ(slot.calls, slot.posted ? 1 : 0);
    EXPECT_EQ(extra.calls, extra.posted ? 1 : 0);
  }

  PostStatus post(Slot& slot, size_t place) {
    const Sge sge = inbox->sge(place * kSlotSize, kSlotSize);
    RecvRequest request;
    request.completion = &slot;
    request.sges = {&sge, 1};
    const PostStatus status = srq->post_recv(request);
    if (status == PostStatus::kOk) slot.posted = true;
    return status;
  }
  PostStatus post(size_t index) { return post(slots[index], index); }
  size_t called() const {
    return std::ranges::count_if(slots, [](const Slot& slot) { return slot.calls == 1; });
  }

  Side other_client{device, *reactor, "other client"};
  Side other_server{device, *reactor, "other server"};
  std::array<Slot, kSlots> slots;
  Slot extra;
  Limits limits;
  std::unique_ptr<Srq> srq;
  std::unique_ptr<Region> inbox;
};

TEST_F(SharedReceives, ServeEveryConnectionInTheOrderOfPosting) {
  for (size_t i = 0; i < kSlots; ++i) ASSERT_EQ(post(i), PostStatus::kOk);
  Region a(*client.pd, 1, Access::kNone), b(*other_client.pd, 1, Access::kNone);
  a.fill(1);
  b.fill(2);
  for (size_t i = 0; i < kSlots; i += 2) {
    client.send(a.sge());
    ASSERT_TRUE(until([&] { return called() == i + 1; }));
    other_client.send(b.sge());
    ASSERT_TRUE(until([&] { return called() == i + 2; }));
    ASSERT_EQ(slots[i].calls, 1);
    ASSERT_EQ(slots[i].wc.qp, server.qp.get());
    ASSERT_EQ(inbox->bytes()[i * kSlotSize], a.bytes()[0]);
    ASSERT_EQ(slots[i + 1].wc.qp, other_server.qp.get());
    ASSERT_EQ(inbox->bytes()[(i + 1) * kSlotSize], b.bytes()[0]);
  }
  EXPECT_TRUE(until([&] { return client.all_finished() && other_client.all_finished(); }));
}

TEST_F(SharedReceives, AreLimited) {
  for (size_t i = 0; i < kSlots; ++i) ASSERT_EQ(post(i), PostStatus::kOk);
  EXPECT_EQ(post(extra, 0), PostStatus::kQueueFull);
  // A slot that was used is free again.
  Region a(*client.pd, 1, Access::kNone);
  client.send(a.sge());
  ASSERT_TRUE(until([&] { return called() == 1; }));
  EXPECT_EQ(post(extra, 0), PostStatus::kOk);
}

TEST_F(SharedReceives, SurviveTheEndOfAConnection) {
  for (size_t i = 0; i < 4; ++i) ASSERT_EQ(post(i), PostStatus::kOk);
  client.qp->abort();
  ASSERT_TRUE(until([&] { return client.disconnected && server.disconnected; }));
  settle();
  EXPECT_EQ(called(), 0u);  // they belong to the queue, not to the connection
  Region b(*other_client.pd, 1, Access::kNone);
  for (int i = 0; i < 4; ++i) other_client.send(b.sge());
  ASSERT_TRUE(until([&] { return called() == 4; }));
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(slots[i].wc.status, WcStatus::kSuccess);
}

TEST_F(SharedReceives, TheRestIsFlushed) {
  for (size_t i = 0; i < 4; ++i) ASSERT_EQ(post(i), PostStatus::kOk);
  for (Side* side : {&client, &server, &other_client, &other_server}) side->qp.reset();
  EXPECT_EQ(called(), 0u);
  srq.reset();
  EXPECT_EQ(called(), 4u);
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(slots[i].wc.status, WcStatus::kFlushed);
}

TEST_F(SharedReceives, AreWaitedForByEveryConnection) {
  MRPOOL_NEEDS(!std::string_view(caps().name).starts_with("siw"));
  Region a(*client.pd, 1, Access::kNone), b(*other_client.pd, 1, Access::kNone);
  a.fill(1);
  b.fill(2);
  for (size_t i = 0; i < kSlots; i += 2) {
    client.send(a.sge());
    other_client.send(b.sge());
  }
  settle();
  EXPECT_EQ(called(), 0u);
  for (size_t i = 0; i < kSlots; ++i) {
    ASSERT_EQ(post(i), PostStatus::kOk);
    ASSERT_TRUE(until([&] { return called() == i + 1; }));
    const bool of_a = slots[i].wc.qp == server.qp.get();
    EXPECT_EQ(inbox->bytes()[i * kSlotSize], of_a ? a.bytes()[0] : b.bytes()[0]);
  }
  EXPECT_TRUE(until([&] { return client.all_finished() && other_client.all_finished(); }));
}

TEST_F(SharedReceives, TheQpsOwnQueueIsClosed) {
  const Sge sge = inbox->sge(0, kSlotSize);
  EXPECT_NE(server.try_receive({&sge, 1}), PostStatus::kOk);
}

// ------------------------------------------------------------------------------- the limit

TEST_F(SharedReceives, SayWhenFewAreLeft) {
  for (size_t i = 0; i < 8; ++i) ASSERT_EQ(post(i), PostStatus::kOk);
  EXPECT_EQ(srq->posted(), 8u);
  ASSERT_TRUE(srq->arm_limit(6).ok());
  Region a(*client.pd, 1, Access::kNone);
  for (int i = 0; i < 2; ++i) client.send(a.sge());
  ASSERT_TRUE(until([&] { return called() == 2; }));
  settle();
  EXPECT_EQ(limits.calls, 0);  // six are not fewer than six
  client.send(a.sge());
  ASSERT_TRUE(until([&] { return limits.calls == 1; }));
  EXPECT_EQ(limits.srq, srq.get());
  client.send(a.sge());
  ASSERT_TRUE(until([&] { return called() == 4; }));
  settle();
  EXPECT_EQ(limits.calls, 1);  // once for each arm_limit()
}

TEST_F(SharedReceives, SayAtOnceThatFewAreLeftButNeverFromInsideTheCall) {
  ASSERT_EQ(post(0), PostStatus::kOk);
  ASSERT_TRUE(srq->arm_limit(2).ok());
  EXPECT_EQ(limits.calls, 0);
  ASSERT_TRUE(until([&] { return limits.calls == 1; }));
  ASSERT_TRUE(srq->arm_limit(0).ok());
  settle();
  EXPECT_EQ(limits.calls, 1);
}

TEST_F(SharedReceives, RefuseALimitThatCannotBe) {
  EXPECT_EQ(srq->arm_limit(kSlots + 1).code(), absl::StatusCode::kInvalidArgument);
  auto silent = server.pd->create_srq(*reactor, {.max_wr = 1, .max_sge = 1});
  ASSERT_TRUE(silent.ok());
  EXPECT_EQ((*silent)->arm_limit(1).code(), absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace mrpool::conformance
