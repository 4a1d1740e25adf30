#include "mrpool/rw.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <random>

#include "mrpool/callback.h"
#include "tests/unit/pool/fake_device.h"

namespace mrpool {
namespace {

using testing::fake_caps;
using testing::FakePd;
using testing::FakeQp;
using testing::FakeReactor;
using ::testing::HasSubstr;

struct Op : RwOperation {
  Op() : RwOperation(to_method<&Op::finished>) {}
  void finished(WcStatus result) {
    ++times;
    status = result;
    if (then) then();
  }
  int times = 0;
  WcStatus status{};
  std::function<void()> then;
};

struct Sink : Completion {
  Sink() : Completion(to_method<&Sink::completed>) {}
  void completed(const WorkCompletion& wc) {
    ++times;
    status = wc.status;
  }
  int times = 0;
  WcStatus status{};
};

DeviceCaps iwarp_caps() {
  DeviceCaps caps = fake_caps();
  caps.iwarp = true;
  caps.read_sink_needs_remote_write = true;
  return caps;
}

class RwTest : public ::testing::Test {
 protected:
  void set_up(const DeviceCaps& caps, const RwLimits& limits, uint32_t mrs, uint16_t ord = 16,
              uint32_t extra_slots = 0) {
    pd.emplace(caps);
    const RwQueueNeeds needs = rw_queue_needs(caps, limits);
    if (needs.pool_mrs > 0) {
      auto made = MrPool::create(*pd, {.count = mrs,
                                       .type = MrPoolType::kSgGaps,
                                       .max_segments = needs.pool_segments,
                                       .access = needs.pool_access});
      ASSERT_TRUE(made.ok()) << made.status();
      pool = *std::move(made);
    }
    qp.emplace(*pd, reactor, needs.send_wr + extra_slots, ord);
    auto made = RwContext::create(*qp, pool.get(), limits);
    ASSERT_TRUE(made.ok()) << made.status();
    context = *std::move(made);
  }
  void TearDown() override {
    if (context == nullptr) return;
    EXPECT_EQ(context->in_flight(), 0u);
    EXPECT_EQ(context->waiting(), 0u);
    context.reset();
    reactor.poll();
    if (pool != nullptr) {
      EXPECT_EQ(pool->stats().in_use, 0u);
      // Whatever happened, the pool heals.
      pool->repair();
      EXPECT_EQ(pool->stats().in_repair, 0u);
    }
  }
  PostStatus read(Op& op, uint64_t length, std::span<const Sge> local = {}) {
    return context->start(op, RwDirection::kRead, local.empty() ? whole : local,
                          {RemoteAddr{0x1000}, length, Rkey{77}});
  }
  PostStatus write(Op& op, uint64_t length, const WorkRequest* last = nullptr,
                   std::span<const Sge> local = {}) {
    return context->start(op, RwDirection::kWrite, local.empty() ? whole : local,
                          {RemoteAddr{0x1000}, length, Rkey{77}}, last);
  }
  std::vector<Opcode> posted() const {
    std::vector<Opcode> opcodes;
    for (const auto& p : qp->history) opcodes.push_back(p.wr.opcode);
    return opcodes;
  }
  // Lets everything go through, waiters included.
  void drain() {
    do {
      qp->complete_all();
    } while (reactor.poll() > 0 || !qp->outstanding.empty());
  }

  std::byte memory[8192];
  const Sge whole_[1] = {{memory, sizeof memory, Lkey{9}}};
  const std::span<const Sge> whole{whole_};
  FakeReactor reactor;
  std::optional<FakePd> pd;
  std::unique_ptr<MrPool> pool;
  std::optional<FakeQp> qp;
  std::unique_ptr<RwContext> context;
};

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

TEST_F(RwTest, WriteNeedsNoKeyAndTakesTheResponseAlong) {
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
  FakeQp q(a, reactor, 100, 16);
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
  FakeQp w(c, reactor, 100, 16);
  EXPECT_EQ(RwContext::create(w, nullptr, {.force_mr = true}).status().code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(RwContext::create(w, nullptr, {}).ok());
}

TEST_F(RwTest, StrictPoolsRegisterStrictly) {
  pd.emplace(iwarp_caps());
  pool = *MrPool::create(*pd, {.count = 1,
                               .access = Access::kLocalWrite | Access::kRemoteWrite |
                                         Access::kDisableRelaxedOrdering});
  qp.emplace(*pd, reactor, 100, 16);
  context = *RwContext::create(*qp, pool.get(), {});
  Op op;
  ASSERT_EQ(read(op, 64), PostStatus::kOk);
  EXPECT_TRUE(has(qp->history[0].wr.access, Access::kDisableRelaxedOrdering));
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
