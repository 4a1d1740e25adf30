#include "mrpool/rw.h"

#include <gmock/gmock.h>

#include "tests/unit/pool/rw_fixture.h"

namespace mrpool {
namespace {

using ::testing::HasSubstr;

TEST_F(RwTest, PlainReadIsOneRequest) {
  set_up(fake_caps(), {}, 0);
  Op op;
  ASSERT_EQ(read(op, 4096), PostStatus::kOk);
  EXPECT_EQ(posted(), (std::vector{Opcode::kRdmaRead}));
  const auto& p = qp->history[0];
  EXPECT_EQ(p.wr.rkey, Rkey{77});
  EXPECT_EQ(p.wr.remote_addr, RemoteAddr{0x1000});
  ASSERT_EQ(p.sges.size(), 1u);
  EXPECT_EQ(p.sges[0].lkey, Lkey{9});
  EXPECT_EQ(p.sges[0].length, 4096u);
  EXPECT_EQ(op.times, 0);
  drain();
  EXPECT_EQ(op.times, 1);
  EXPECT_EQ(op.status, WcStatus::kSuccess);
}

TEST_F(RwTest, SinkOnIwarpGetsAKeyForThisReadOnly) {
  set_up(iwarp_caps(), {}, 1);
  Op op;
  ASSERT_EQ(read(op, 4096), PostStatus::kOk);
  EXPECT_EQ(posted(), (std::vector{Opcode::kRegMr, Opcode::kRdmaReadWithInv}));
  EXPECT_EQ(qp->posts, 1);  // one chain
  EXPECT_EQ(qp->history[0].wr.access, Access::kLocalWrite | Access::kRemoteWrite);
  EXPECT_FALSE(qp->history[0].wr.signalled);
  EXPECT_EQ(qp->history[1].sges[0].lkey, qp->history[0].wr.mr->lkey());
  EXPECT_EQ(pool->stats().in_use, 1u);
  drain();
  EXPECT_EQ(op.times, 1);
  EXPECT_EQ(pool->stats().in_repair, 0u);
}

TEST_F(RwTest, KeyIsEndedLocallyWhereTheReadCannot) {
  DeviceCaps caps = iwarp_caps();
  caps.read_with_inv = false;
  set_up(caps, {}, 1);
  Op op;
  ASSERT_EQ(read(op, 4096), PostStatus::kOk);
  EXPECT_EQ(posted(), (std::vector{Opcode::kRegMr, Opcode::kRdmaRead}));
  qp->complete();
  qp->complete();
  EXPECT_EQ(op.times, 0);  // not before the key is dead
  EXPECT_EQ(posted().back(), Opcode::kLocalInv);
  EXPECT_EQ(qp->history[2].wr.rkey, qp->history[0].wr.mr->rkey());
  qp->complete();
  EXPECT_EQ(op.times, 1);
  EXPECT_EQ(pool->stats().in_repair, 0u);
}

TEST_F(RwTest, WriteNeedsNoKeyAndCarriesTheResponse) {
  set_up(iwarp_caps(), {}, 1, 16, /*extra_slots=*/1);
  Op op;
  Sink sent;
  WorkRequest response;
  response.opcode = Opcode::kSendWithInv;
  response.completion = &sent;
  ASSERT_EQ(write(op, 8192, &response), PostStatus::kOk);
  EXPECT_EQ(posted(), (std::vector{Opcode::kRdmaWrite, Opcode::kSendWithInv}));
  EXPECT_EQ(qp->posts, 1);
  drain();
  EXPECT_EQ(op.times, 1);
  EXPECT_TRUE(op.last_posted());
  EXPECT_EQ(sent.times, 1);
  EXPECT_EQ(pool->stats().gets, 0u);
}

TEST_F(RwTest, ForcedMrExercisesRegistrationForWrites) {
  set_up(fake_caps(), {.force_mr = true}, 1, 16, 1);
  Op op;
  Sink sent;
  WorkRequest response;
  response.completion = &sent;
  ASSERT_EQ(write(op, 100, &response), PostStatus::kOk);
  drain();
  EXPECT_EQ(posted(),
            (std::vector{Opcode::kRegMr, Opcode::kRdmaWrite, Opcode::kSend, Opcode::kLocalInv}));
  EXPECT_EQ(op.times, 1);
  EXPECT_EQ(pool->stats().in_repair, 0u);
}

TEST_F(RwTest, ReadsAreSplitPerSegmentWhereTheDeviceHasOneSge) {
  DeviceCaps caps = fake_caps();
  caps.max_read_sge = 1;
  set_up(caps, {}, 0);
  const Sge three[] = {
      {memory, 10, Lkey{1}}, {memory + 100, 20, Lkey{2}}, {memory + 200, 30, Lkey{3}}};
  Op op;
  ASSERT_EQ(read(op, 55, three), PostStatus::kOk);
  ASSERT_EQ(qp->history.size(), 3u);
  EXPECT_EQ(qp->history[1].wr.remote_addr, RemoteAddr{0x1000 + 10});
  EXPECT_EQ(qp->history[2].wr.remote_addr, RemoteAddr{0x1000 + 30});
  EXPECT_EQ(qp->history[2].sges[0].length, 25u);
  drain();
  EXPECT_EQ(op.times, 1);
}

TEST_F(RwTest, CreditsAreNeverExceededAndNothingDeadlocks) {
  DeviceCaps caps = fake_caps();
  caps.max_read_sge = 1;
  for (uint16_t ord : {uint16_t{1}, uint16_t{2}, uint16_t{16}}) {
    set_up(caps, {.max_operations = 4}, 0, ord);
    std::vector<Sge> many(16);
    for (size_t i = 0; i < many.size(); ++i) many[i] = {memory + i * 64, 64, Lkey{1}};
    std::vector<Op> ops(10);
    for (Op& op : ops) ASSERT_EQ(read(op, 1024, many), PostStatus::kOk);
    drain();
    for (Op& op : ops) EXPECT_EQ(op.times, 1);
    EXPECT_EQ(qp->history.size(), 160u);
    EXPECT_LE(qp->max_reads, ord);
    context.reset();
  }
}

TEST_F(RwTest, PoolOfOneServesManyInOrder) {
  for (bool with_inv : {true, false}) {
    DeviceCaps caps = iwarp_caps();
    caps.read_with_inv = with_inv;
    set_up(caps, {.max_operations = 8}, 1);
    std::vector<int> order;
    std::vector<Op> ops(8);
    for (int i = 0; i < 8; ++i) {
      ops[size_t(i)].then = [&order, i] { order.push_back(i); };
      ASSERT_EQ(read(ops[size_t(i)], 4096), PostStatus::kOk);
    }
    EXPECT_EQ(context->in_flight(), 1u);
    EXPECT_EQ(context->waiting(), 7u);
    drain();
    EXPECT_EQ(order, (std::vector{0, 1, 2, 3, 4, 5, 6, 7}));
    EXPECT_EQ(pool->stats().high_water, 1u);
    context.reset();
    reactor.poll();
    pool.reset();
  }
}

TEST_F(RwTest, WritesPassReadsThatWaitForCredits) {
  set_up(fake_caps(), {.max_operations = 8}, 0, /*ord=*/1);
  Op r1, r2, w;
  ASSERT_EQ(read(r1, 64), PostStatus::kOk);
  ASSERT_EQ(read(r2, 64), PostStatus::kOk);
  ASSERT_EQ(write(w, 64), PostStatus::kOk);
  EXPECT_EQ(posted(), (std::vector{Opcode::kRdmaRead, Opcode::kRdmaWrite}));
  drain();
  EXPECT_EQ(r1.times + r2.times + w.times, 3);
}

TEST_F(RwTest, OperationsBeyondTheLimitWait) {
  set_up(fake_caps(), {.max_operations = 2}, 0);
  Op a, b, c;
  for (Op* op : {&a, &b, &c}) ASSERT_EQ(write(*op, 64), PostStatus::kOk);
  EXPECT_EQ(context->in_flight(), 2u);
  EXPECT_EQ(context->waiting(), 1u);
  drain();
  EXPECT_EQ(c.times, 1);
}

TEST_F(RwTest, MayBeStartedAgainFromDone) {
  set_up(iwarp_caps(), {.max_operations = 1}, 1);
  Op op;
  op.then = [&] {
    if (op.times < 5) {
      ASSERT_EQ(read(op, 64), PostStatus::kOk);
    }
  };
  ASSERT_EQ(read(op, 64), PostStatus::kOk);
  drain();
  EXPECT_EQ(op.times, 5);
}

TEST_F(RwTest, EmptyTransfersHaveAResponseToo) {
  set_up(iwarp_caps(), {.force_mr = true}, 1, 16, 1);
  Op op;
  Sink sent;
  WorkRequest response;
  response.completion = &sent;
  ASSERT_EQ(write(op, 0, &response), PostStatus::kOk);
  EXPECT_EQ(posted(), (std::vector{Opcode::kRdmaWrite, Opcode::kSend}));
  drain();
  EXPECT_EQ(op.times, 1);
}

TEST_F(RwTest, RefusesWhatIsBeyondTheLimits) {
  set_up(fake_caps(), {.max_transfer = 100, .max_segments = 2}, 0);
  Op op;
  const Sge three[] = {{memory, 1, {}}, {memory, 1, {}}, {memory, 1, {}}};
  const Sge empty[] = {{memory, 10, {}}, {memory, 0, {}}};
  const Sge small[] = {{memory, 10, {}}};
  WorkRequest response;
  EXPECT_EQ(write(op, 101), PostStatus::kTooLong);
  EXPECT_EQ(write(op, 3, nullptr, three), PostStatus::kTooManySges);
  EXPECT_EQ(write(op, 10, nullptr, empty), PostStatus::kBadSge);
  EXPECT_EQ(write(op, 11, nullptr, small), PostStatus::kBadSge);
  EXPECT_EQ(context->start(op, RwDirection::kRead, whole, {RemoteAddr{}, 10, Rkey{}}, &response),
            PostStatus::kUnsupported);
  qp->disconnect();
  EXPECT_EQ(write(op, 10), PostStatus::kNotConnected);
  EXPECT_EQ(op.times, 0);
}

TEST_F(RwTest, NoReadsFromAPeerThatServesNone) {
  set_up(fake_caps(), {}, 0, /*ord=*/0);
  Op op;
  EXPECT_EQ(read(op, 10), PostStatus::kUnsupported);
}

// ------------------------------------------------------------------------------- scarcity

TEST_F(RwTest, AQpThatIsTooSmallIsRefusedAtCreate) {
  const RwLimits limits{.max_operations = 4, .max_segments = 4};
  pd.emplace(fake_caps());
  const RwQueueNeeds needs = rw_queue_needs(fake_caps(), limits);
  FakeQp small(*pd, reactor, needs.send_wr - 1, 16);
  const absl::Status status = RwContext::create(small, nullptr, limits).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("rw_queue_needs computes"));
  FakeQp fits(*pd, reactor, needs.send_wr, 16);
  EXPECT_TRUE(RwContext::create(fits, nullptr, limits).ok());
}

TEST_F(RwTest, AbsurdLimitsAreRefusedAtCreate) {
  pd.emplace(fake_caps());
  FakeQp fake(*pd, reactor, 1024, 16);
  const RwLimits limits{.max_operations = UINT32_MAX,
                        .max_transfer = UINT32_MAX,
                        .max_segments = UINT32_MAX,
                        .force_mr = true};
  EXPECT_GE(rw_queue_needs(fake_caps(), limits).pool_mrs, fake_caps().max_mr);
  EXPECT_EQ(RwContext::create(fake, nullptr, limits).status().code(),
            absl::StatusCode::kInvalidArgument);
}

// The caller's own requests fill the send queue while three READs wait for the only MR.
TEST_F(RwTest, WaitingReadsWaitForRoomInTheQueueToo) {
  set_up(iwarp_caps(), {.max_operations = 4}, 1);
  MrPool::Lease only = pool->get();
  Op ops[3];
  for (Op& op : ops) ASSERT_EQ(read(op, 64), PostStatus::kOk);
  std::vector<std::unique_ptr<Sink>> sinks;
  while (qp->send_room() > 0) {
    sinks.push_back(std::make_unique<Sink>());
    WorkRequest send;
    send.completion = sinks.back().get();
    ASSERT_TRUE(qp->post_send(send).ok());
  }
  only.reset();
  for (int i = 0; i < 10; ++i) reactor.poll();
  for (const Op& op : ops) EXPECT_EQ(op.times, 0);
  EXPECT_EQ(context->waiting(), 3u);
  drain();
  for (const Op& op : ops) {
    EXPECT_EQ(op.times, 1);
    EXPECT_EQ(op.status, WcStatus::kSuccess);
  }
}

// One slot is left: the registration would fit, the READ would not.
TEST_F(RwTest, AChainThatDoesNotFitWholeWaits) {
  set_up(iwarp_caps(), {.max_operations = 1}, 1, 16, /*extra_slots=*/3);
  std::vector<std::unique_ptr<Sink>> sinks;
  while (qp->send_room() > 1) {
    sinks.push_back(std::make_unique<Sink>());
    WorkRequest send;
    send.completion = sinks.back().get();
    ASSERT_TRUE(qp->post_send(send).ok());
  }
  Op op;
  ASSERT_EQ(read(op, 64), PostStatus::kOk);
  EXPECT_EQ(pool->stats().in_use, 0u);  // nothing is held
  reactor.poll();
  EXPECT_EQ(op.times, 0);
  drain();
  EXPECT_EQ(op.status, WcStatus::kSuccess);
}

TEST_F(RwTest, TheEndOfAKeyWaitsForRoomToo) {
  set_up(fake_caps(), {.max_operations = 1, .max_segments = 1, .force_mr = true}, 1);
  Op op;
  ASSERT_EQ(write(op, 100), PostStatus::kOk);
  qp->complete();  // the registration
  std::vector<std::unique_ptr<Sink>> sinks;
  while (qp->send_room() > 0) {
    sinks.push_back(std::make_unique<Sink>());
    WorkRequest send;
    send.completion = sinks.back().get();
    ASSERT_TRUE(qp->post_send(send).ok());
  }
  // The WRITE is done, and its place is taken at once by the caller.
  const auto refill = std::make_unique<Sink>();
  WorkRequest send;
  send.completion = refill.get();
  qp->accept = 0;
  qp->full = true;
  qp->complete();
  EXPECT_EQ(op.times, 0);
  qp->accept = -1;
  qp->full = false;
  drain();
  EXPECT_EQ(op.times, 1);
  EXPECT_EQ(op.status, WcStatus::kSuccess);
  EXPECT_EQ(pool->stats().in_repair, 0u);
}

TEST_F(RwTest, AResponseWithoutASlotIsRefused) {
  set_up(fake_caps(), {.max_operations = 1, .max_segments = 1}, 0);
  Op op;
  Sink sent;
  WorkRequest response;
  response.completion = &sent;
  EXPECT_EQ(write(op, 100, &response), PostStatus::kQueueFull);
  EXPECT_EQ(op.times, 0);
}

}  // namespace
}  // namespace mrpool
