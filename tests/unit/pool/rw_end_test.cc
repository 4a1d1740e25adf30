// Transfers that fail, are cancelled, or outlive their context.
#include <gmock/gmock.h>

#include <random>

#include "tests/unit/pool/rw_fixture.h"

namespace mrpool {
namespace {

using ::testing::HasSubstr;

// ------------------------------------------------------------------------------- failures

TEST_F(RwTest, FlushCallsEveryoneOnceAndThePoolHeals) {
  for (const bool with_inv : {true, false}) {
    DeviceCaps caps = iwarp_caps();
    caps.read_with_inv = with_inv;
    set_up(caps, {.max_operations = 8}, 3);
    std::vector<Op> ops(8);
    for (Op& op : ops) ASSERT_EQ(read(op, 4096), PostStatus::kOk);
    qp->fail(WcStatus::kRemoteAccess);
    context->stop();
    for (Op& op : ops) {
      EXPECT_EQ(op.times, 1);
      EXPECT_NE(op.status, WcStatus::kSuccess);
    }
    EXPECT_EQ(ops[0].status, WcStatus::kRemoteAccess);
    EXPECT_EQ(ops[7].status, WcStatus::kFlushed);
    context.reset();
    reactor.poll();
    EXPECT_EQ(pool->stats().in_use, 0u);
    EXPECT_GT(pool->stats().in_repair, 0u);
    std::vector<MrPool::Lease> all;
    for (int i = 0; i < 3; ++i) {
      all.push_back(pool->get());
      EXPECT_TRUE(all.back());
    }
    all.clear();
    pool.reset();
  }
}

TEST_F(RwTest, StopFailsThoseThatWaitForAnMr) {
  set_up(iwarp_caps(), {}, 1);
  MrPool::Lease elsewhere = pool->get();
  Op a, b;
  ASSERT_EQ(read(a, 64), PostStatus::kOk);
  ASSERT_EQ(read(b, 64), PostStatus::kOk);
  EXPECT_EQ(qp->posts, 0);
  qp->abort();
  context->stop();
  EXPECT_EQ(a.times, 1);
  EXPECT_EQ(b.times, 1);
  EXPECT_EQ(a.status, WcStatus::kFlushed);
  EXPECT_EQ(read(a, 64), PostStatus::kNotConnected);
}

TEST_F(RwTest, MayGoWhileAGrantIsOnItsWay) {
  set_up(iwarp_caps(), {}, 1);
  {
    MrPool::Lease elsewhere = pool->get();
    Op op;
    ASSERT_EQ(read(op, 64), PostStatus::kOk);
    elsewhere.reset();  // granted; its task has not run
    context.reset();
    EXPECT_EQ(op.times, 1);
  }
  EXPECT_EQ(pool->stats().in_use, 0u);
  reactor.poll();
}

TEST_F(RwTest, RefusedPostFailsTheStartAndReturnsAll) {
  set_up(iwarp_caps(), {}, 2);
  Op op;
  qp->accept = 0;  // nothing taken
  EXPECT_EQ(read(op, 64), PostStatus::kBadSge);
  EXPECT_EQ(op.times, 0);
  EXPECT_EQ(pool->stats().in_use, 0u);
  EXPECT_EQ(pool->stats().in_repair, 0u);
}

TEST_F(RwTest, RegistrationWithoutItsReadIsEnded) {
  set_up(iwarp_caps(), {}, 1);
  Op op;
  qp->accept = 1;  // the kRegMr, not the READ; nor the kLocalInv that follows
  EXPECT_EQ(read(op, 64), PostStatus::kBadSge);
  EXPECT_EQ(op.times, 0);
  EXPECT_EQ(pool->stats().in_repair, 1u);
  qp->accept = -1;
  qp->outstanding.clear();
}

TEST_F(RwTest, ResponseThatIsRefusedFailsTheOperationAfterItsData) {
  set_up(fake_caps(), {}, 0);
  Op op;
  Sink sent;
  WorkRequest response;
  response.completion = &sent;
  qp->accept = 1;
  ASSERT_EQ(write(op, 64, &response), PostStatus::kOk);
  EXPECT_EQ(op.times, 0);
  qp->complete();
  EXPECT_EQ(op.times, 1);
  EXPECT_NE(op.status, WcStatus::kSuccess);
  EXPECT_FALSE(op.last_posted());
  EXPECT_EQ(sent.times, 0);
}

TEST_F(RwTest, LaterStepThatIsRefusedWaitsForTheEarlierOnes) {
  DeviceCaps caps = fake_caps();
  caps.max_read_sge = 1;
  set_up(caps, {}, 0);
  const Sge two[] = {{memory, 10, Lkey{1}}, {memory + 100, 20, Lkey{2}}};
  Op op;
  qp->accept = 1;
  ASSERT_EQ(read(op, 30, two), PostStatus::kOk);
  EXPECT_EQ(op.times, 0);
  qp->complete();
  EXPECT_EQ(op.times, 1);
  EXPECT_EQ(op.status, WcStatus::kLocalProtection);
}

TEST_F(RwTest, FullQueueOfTheCallersMakingIsWaitedFor) {
  set_up(fake_caps(), {.max_operations = 2, .max_segments = 1}, 0);  // two slots
  Op a, b;
  WorkRequest mine;
  mine.opcode = Opcode::kSend;
  ASSERT_EQ(write(a, 64), PostStatus::kOk);
  ASSERT_TRUE(qp->post_send(mine).ok());
  ASSERT_EQ(write(b, 64), PostStatus::kOk);
  EXPECT_EQ(context->waiting(), 1u);
  drain();
  EXPECT_EQ(b.times, 1);
  EXPECT_EQ(b.status, WcStatus::kSuccess);
}

TEST_F(RwTest, FailedRegistrationIsTheStatus) {
  set_up(iwarp_caps(), {}, 1);
  Op op;
  ASSERT_EQ(read(op, 64), PostStatus::kOk);
  qp->fail(WcStatus::kBind);
  EXPECT_EQ(op.times, 1);
  EXPECT_EQ(op.status, WcStatus::kBind);
}

TEST_F(RwTest, ContextNeedsTheRightPool) {
  FakePd a(iwarp_caps()), b(iwarp_caps());
  FakeQp q(a, reactor, 1024, 16);
  const auto message = [&](MrPool* p, const RwLimits& limits = {}) {
    return std::string(RwContext::create(q, p, limits).status().message());
  };
  EXPECT_THAT(message(nullptr), HasSubstr("give the context a pool"));
  auto foreign =
      *MrPool::create(b, {.count = 1, .access = Access::kLocalWrite | Access::kRemoteWrite});
  EXPECT_THAT(message(foreign.get()), HasSubstr("another Pd"));
  auto narrow = *MrPool::create(a, {.count = 1});
  EXPECT_THAT(message(narrow.get()), HasSubstr("ceiling"));
  DeviceCaps windows = fake_caps();
  windows.registration = Registration::kMemoryWindow;
  FakePd c(windows);
  FakeQp w(c, reactor, 1024, 16);
  EXPECT_EQ(RwContext::create(w, nullptr, {.force_mr = true}).status().code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(RwContext::create(w, nullptr, {}).ok());
}

TEST_F(RwTest, StrictPoolsRegisterStrictly) {
  pd.emplace(iwarp_caps());
  pool = *MrPool::create(*pd, {.count = 1,
                               .access = Access::kLocalWrite | Access::kRemoteWrite |
                                         Access::kDisableRelaxedOrdering});
  qp.emplace(*pd, reactor, 1024, 16);
  context = *RwContext::create(*qp, pool.get(), {});
  Op op;
  ASSERT_EQ(read(op, 64), PostStatus::kOk);
  EXPECT_TRUE(has(qp->history[0].wr.access, Access::kDisableRelaxedOrdering));
  drain();
}

TEST_F(RwTest, TheLastDoneMayDestroyTheContext) {
  set_up(iwarp_caps(), {.max_operations = 2}, 1);
  Op first;
  Op last;
  ASSERT_EQ(read(first, 64), PostStatus::kOk);
  ASSERT_EQ(read(last, 64), PostStatus::kOk);  // after the first one's MR
  last.then = [this] { context.reset(); };
  drain();
  EXPECT_EQ(last.times, 1);
  EXPECT_EQ(last.status, WcStatus::kSuccess);
  EXPECT_TRUE(pool->get());
}

TEST_F(RwTest, ADoneThatDestroysTheContextEndsWhatWaits) {
  set_up(iwarp_caps(), {.max_operations = 4}, 1);
  Op first;
  Op waiting[2];
  ASSERT_EQ(read(first, 64), PostStatus::kOk);
  for (Op& op : waiting) ASSERT_EQ(read(op, 64), PostStatus::kOk);
  first.then = [this] { context.reset(); };
  drain();
  EXPECT_EQ(first.status, WcStatus::kSuccess);
  for (Op& op : waiting) {
    EXPECT_EQ(op.times, 1);
    EXPECT_EQ(op.status, WcStatus::kFlushed);
  }
  EXPECT_TRUE(pool->get());
}

// ------------------------------------------------------------------------------- cancel

TEST_F(RwTest, AWaitingOperationIsTakenBack) {
  set_up(iwarp_caps(), {}, 1);
  Op ops[4];
  for (Op& op : ops) ASSERT_EQ(read(op, 64), PostStatus::kOk);
  EXPECT_EQ(context->waiting(), 3u);
  EXPECT_TRUE(context->cancel(ops[2]));  // from the middle
  EXPECT_FALSE(context->cancel(ops[2]));
  EXPECT_TRUE(context->cancel(ops[1]));  // the one that the MR is asked for
  EXPECT_EQ(context->waiting(), 1u);
  ASSERT_EQ(read(ops[2], 64), PostStatus::kOk);  // it is the caller's again
  drain();
  EXPECT_EQ(ops[0].times, 1);
  EXPECT_EQ(ops[1].times, 0);
  EXPECT_EQ(ops[2].times, 1);
  EXPECT_EQ(ops[3].times, 1);
}

TEST_F(RwTest, OutstandingRequestsEndAsCancelled) {
  DeviceCaps caps = fake_caps();
  caps.max_message = 100;
  set_up(caps, {.max_operations = 2}, 0, /*ord=*/1);
  Op op, behind;
  ASSERT_EQ(read(op, 300), PostStatus::kOk);
  ASSERT_EQ(read(behind, 50), PostStatus::kOk);
  EXPECT_FALSE(context->cancel(op));
  EXPECT_EQ(op.times, 0);
  drain();
  EXPECT_EQ(op.times, 1);
  EXPECT_EQ(op.status, WcStatus::kCancelled);
  EXPECT_EQ(behind.status, WcStatus::kSuccess);
  EXPECT_EQ(qp->history.size(), 2u);
}

TEST_F(RwTest, AFullyPostedOperationIsNotCancelled) {
  set_up(fake_caps(), {}, 0);
  Op op;
  ASSERT_EQ(write(op, 300), PostStatus::kOk);
  EXPECT_FALSE(context->cancel(op));
  drain();
  EXPECT_EQ(op.status, WcStatus::kSuccess);
}

// ------------------------------------------------------------------------------- misuse

TEST_F(RwTest, MisuseNamesTheOperation) {
  set_up(fake_caps(), {}, 0);
  auto op = std::make_unique<Op>();
  ASSERT_EQ(read(*op, 64), PostStatus::kOk);
  EXPECT_DEATH((void)read(*op, 64), "RwContext::start: the RwOperation at 0x.* is under way");
  EXPECT_DEATH(op.reset(), "the RwOperation at 0x.* is under way: done\\(\\) has not run");
  EXPECT_DEATH(context.reset(), "1 operations in flight");
  drain();
}

// Random shapes, scarcity and failures: every operation is done once, nothing is lost.
TEST_F(RwTest, SurvivesAnything) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937_64 rng(seed);
  for (int round = 0; round < 500; ++round) {
    DeviceCaps caps = rng() % 2 ? iwarp_caps() : fake_caps();
    caps.read_with_inv = rng() % 2;
    caps.sg_gaps = true;
    caps.max_sge = 1 + rng() % 4;
    caps.max_read_sge = 1 + rng() % 4;
    caps.max_message = 16 + rng() % 4000;
    caps.max_fast_reg_segments = 1 + rng() % 4;
    RwLimits limits{
        .max_operations = uint32_t(1 + rng() % 6), .max_segments = 30, .force_mr = rng() % 2 == 0};
    set_up(caps, limits, uint32_t(1 + rng() % 3), uint16_t(1 + rng() % 4), /*extra_slots=*/20);
    std::vector<Op> ops(20);
    std::vector<std::vector<Sge>> lists(ops.size());
    Sink sent;
    WorkRequest response;
    response.completion = &sent;
    int responses = 0;
    size_t started = 0;
    const bool breaks = rng() % 2;
    for (size_t i = 0; i < ops.size(); ++i) {
      lists[i].resize(1 + rng() % 30);
      uint64_t total = 0;
      for (Sge& sge : lists[i]) {
        sge = {memory, uint32_t(1 + rng() % 200), Lkey{1}};
        total += sge.length;
      }
      Op& op = ops[i];
      op.then = [&] { responses += op.last_posted(); };
      const bool with_response = rng() % 2;
      const PostStatus status =
          rng() % 2 ? read(op, 1 + rng() % total, lists[i])
                    : write(op, rng() % (total + 1), with_response ? &response : nullptr, lists[i]);
      started += status == PostStatus::kOk;
      EXPECT_TRUE(status == PostStatus::kOk || !qp->connected());
      for (uint64_t n = rng() % 4; n > 0 && !qp->outstanding.empty(); --n) qp->complete();
      if (rng() % 4 == 0) reactor.poll();
      if (breaks && rng() % 20 == 0) qp->fail(WcStatus::kTransport);
    }
    drain();
    if (!qp->connected()) context->stop();
    size_t done = 0;
    for (Op& op : ops) {
      EXPECT_LE(op.times, 1);
      done += size_t(op.times);
      EXPECT_TRUE(op.status == WcStatus::kSuccess || !qp->connected());
    }
    EXPECT_EQ(done, started);
    EXPECT_EQ(sent.times, responses);
    EXPECT_LE(qp->max_reads, qp->ord());
    ASSERT_EQ(context->in_flight(), 0u);
    ASSERT_EQ(context->waiting(), 0u);
    context.reset();
    reactor.poll();
    if (pool != nullptr) {
      EXPECT_EQ(pool->stats().in_use, 0u);
      EXPECT_TRUE(pool->stats().in_repair == 0 || !qp->connected());
    }
    pool.reset();
  }
}

}  // namespace
}  // namespace mrpool
