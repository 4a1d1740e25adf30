// Protected operations of an RwContext: what they post, what they wait for, how they end.
#include <deque>

#include "tests/unit/pool/rw_fixture.h"

namespace mrpool {
namespace {

using Verdict = IntegrityReport::Verdict;
using ::testing::Test;

constexpr uint32_t kBlocks = 3;
constexpr uint64_t kOnWire = kBlocks * (512 + kTupleBytes);

struct ProtectedOp : Op {
  ProtectedOp() {
    then = [this] { error = integrity_error(); };
  }
  std::optional<IntegrityError> error;
};

class RwIntegrity : public RwTest {
 protected:
  static DeviceCaps integrity_caps() {
    DeviceCaps caps = iwarp_caps();
    caps.max_integrity_blocks = 64;
    return caps;
  }
  void set_up_protected(uint32_t mrs = 4, uint32_t operations = 4) {
    set_up(integrity_caps(), {.max_operations = operations, .integrity = true}, mrs);
  }
  PostStatus start(Op& op, RwDirection direction) { return start(op, direction, buffer); }
  PostStatus start(Op& op, RwDirection direction, const ProtectedBuffer& local,
                   uint64_t length = kOnWire) {
    return context->start(op, direction, local, {RemoteAddr{0x1000}, length, Rkey{77}});
  }
  // The MR that was registered last.
  testing::FakeFastMr& fake_mr() const {
    for (auto at = qp->history.rbegin(); at != qp->history.rend(); ++at) {
      if (at->wr.opcode == Opcode::kRegMr) return *static_cast<testing::FakeFastMr*>(at->wr.mr);
    }
    std::abort();
  }

  const Sge data_[2] = {{memory, 1000, Lkey{9}}, {memory + 2000, 536, Lkey{9}}};
  const ProtectedBuffer buffer{.data = data_, .attributes = {.wire = {.protection = true}}};
};

TEST_F(RwIntegrity, AReadRegistersReadsAndChecks) {
  set_up_protected();
  ProtectedOp op;
  ASSERT_EQ(start(op, RwDirection::kRead), PostStatus::kOk);
  EXPECT_EQ(posted(), (std::vector{Opcode::kRegMr, Opcode::kRdmaReadWithInv}));
  EXPECT_EQ(qp->history[0].wr.access, Access::kLocalWrite | Access::kRemoteWrite);
  EXPECT_EQ(qp->history[1].sges[0].length, kOnWire);
  EXPECT_EQ(fake_mr().flows, (std::vector{IntegrityFlow::kFromWire}));
  EXPECT_EQ(fake_mr().checks, 0);
  qp->complete_all();
  EXPECT_EQ(fake_mr().checks, 1);
  EXPECT_EQ(op.times, 1);
  EXPECT_EQ(op.status, WcStatus::kSuccess);
  EXPECT_FALSE(op.error);
}

TEST_F(RwIntegrity, AWriteChecksWhenItsKeyIsDead) {
  set_up_protected();
  ProtectedOp op;
  ASSERT_EQ(start(op, RwDirection::kWrite), PostStatus::kOk);
  EXPECT_EQ(posted(), (std::vector{Opcode::kRegMr, Opcode::kRdmaWrite}));
  EXPECT_EQ(qp->history[0].wr.access, Access::kNone);
  EXPECT_EQ(fake_mr().flows, (std::vector{IntegrityFlow::kToWire}));
  qp->complete();
  qp->complete();
  EXPECT_EQ(posted().back(), Opcode::kLocalInv);
  EXPECT_EQ(fake_mr().checks, 0);
  qp->complete();
  EXPECT_EQ(fake_mr().checks, 1);
  EXPECT_EQ(op.status, WcStatus::kSuccess);
}

TEST_F(RwIntegrity, WhatTheChecksFindEndsTheOperation) {
  set_up_protected();
  const IntegrityError found{IntegrityField::kRefTag, 2, 5, 6};
  for (const RwDirection direction : {RwDirection::kRead, RwDirection::kWrite}) {
    ProtectedOp op;
    ASSERT_EQ(start(op, direction), PostStatus::kOk);
    fake_mr().report = {Verdict::kBad, found};
    qp->complete_all();
    EXPECT_EQ(op.times, 1);
    EXPECT_EQ(op.status, WcStatus::kIntegrity);
    EXPECT_EQ(op.error, found);
    fake_mr().report = {Verdict::kGood, {}};
    // The next one of the same object starts again.
    ASSERT_EQ(start(op, direction), PostStatus::kOk);
    fake_mr().report = {Verdict::kGood, {}};
    qp->complete_all();
    EXPECT_EQ(op.status, WcStatus::kSuccess);
    EXPECT_FALSE(op.error);
  }
}

TEST_F(RwIntegrity, DataThatCouldNotBeCheckedIsNotASuccess) {
  set_up_protected();
  ProtectedOp op;
  ASSERT_EQ(start(op, RwDirection::kRead), PostStatus::kOk);
  fake_mr().report = {};
  qp->complete_all();
  EXPECT_EQ(op.status, WcStatus::kLocalProtection);
  EXPECT_FALSE(op.error);
}

TEST_F(RwIntegrity, AFailedTransferIsNotChecked) {
  set_up_protected();
  ProtectedOp op;
  ASSERT_EQ(start(op, RwDirection::kRead), PostStatus::kOk);
  fake_mr().report = {Verdict::kBad, {}};
  qp->complete();
  qp->fail(WcStatus::kRemoteAccess);
  EXPECT_EQ(op.status, WcStatus::kRemoteAccess);
  EXPECT_FALSE(op.error);
  EXPECT_EQ(fake_mr().checks, 0);
}

TEST_F(RwIntegrity, OperationsWaitForMrsOfTheirOwnPool) {
  set_up_protected(1);
  std::deque<ProtectedOp> ops(3);
  Op plain;
  ASSERT_EQ(start(ops[0], RwDirection::kRead), PostStatus::kOk);
  ASSERT_EQ(start(ops[1], RwDirection::kRead), PostStatus::kOk);
  ASSERT_EQ(read(plain, 512), PostStatus::kOk);
  ASSERT_EQ(start(ops[2], RwDirection::kRead), PostStatus::kOk);
  EXPECT_EQ(posted().size(), 2u);
  EXPECT_EQ(context->waiting(), 3u);
  drain();
  for (const ProtectedOp& op : ops) EXPECT_EQ(op.status, WcStatus::kSuccess);
  for (const ProtectedOp& op : ops) EXPECT_EQ(op.times, 1);
  EXPECT_EQ(plain.times, 1);
  EXPECT_EQ(integrity_pool->stats().gets, 3u);
  EXPECT_EQ(pool->stats().gets, 1u);
}

TEST_F(RwIntegrity, AWaitingOperationIsCancelledOrStopped) {
  set_up_protected(1);
  ProtectedOp first, second, third;
  ASSERT_EQ(start(first, RwDirection::kRead), PostStatus::kOk);
  ASSERT_EQ(start(second, RwDirection::kRead), PostStatus::kOk);
  ASSERT_EQ(start(third, RwDirection::kRead), PostStatus::kOk);
  EXPECT_TRUE(context->cancel(second));
  EXPECT_EQ(second.times, 0);
  qp->fail();
  context->stop();
  EXPECT_EQ(first.status, WcStatus::kFlushed);
  EXPECT_EQ(third.status, WcStatus::kFlushed);
  EXPECT_EQ(third.times, 1);
  EXPECT_EQ(start(second, RwDirection::kRead), PostStatus::kNotConnected);
}

TEST_F(RwIntegrity, ARefusedPostGivesTheMrBack) {
  set_up_protected();
  ProtectedOp op;
  qp->accept = 0;
  EXPECT_EQ(start(op, RwDirection::kWrite), PostStatus::kBadSge);
  EXPECT_EQ(op.times, 0);
  EXPECT_EQ(integrity_pool->stats().in_use, 0u);
  qp->accept = 1;  // the registration, without its WRITE and without an end
  EXPECT_EQ(start(op, RwDirection::kWrite), PostStatus::kBadSge);
  EXPECT_EQ(op.times, 0);
  EXPECT_EQ(integrity_pool->stats().in_repair, 1u);
  qp->accept = -1;
  drain();
}

TEST_F(RwIntegrity, StartRefusesWhatDoesNotFit) {
  set_up_protected();
  ProtectedOp op;
  const auto status = [&](const ProtectedBuffer& local, uint64_t length = kOnWire) {
    return start(op, RwDirection::kWrite, local, length);
  };
  ProtectedBuffer changed = buffer;
  EXPECT_EQ(status(buffer, kOnWire - 8), PostStatus::kBadIntegrity);
  EXPECT_EQ(status(buffer, 2 << 20), PostStatus::kTooLong);
  changed.attributes.wire = {};
  EXPECT_EQ(status(changed, kBlocks * 512), PostStatus::kBadIntegrity);
  const Sge many[9] = {};
  changed = {.data = many, .attributes = buffer.attributes};
  EXPECT_EQ(status(changed), PostStatus::kTooManySges);
  const Sge large{memory, 9 * 512, Lkey{9}};
  changed.data = {&large, 1};
  EXPECT_EQ(status(changed, 9 * 520), PostStatus::kTooLong);
  EXPECT_EQ(qp->history.size(), 0u);
  EXPECT_EQ(context->in_flight() + context->waiting(), 0u);
}

TEST(RwIntegrityNeeds, CountTheSlotsOfProtectedOperations) {
  DeviceCaps caps = fake_caps();
  caps.max_integrity_blocks = 8;
  RwLimits limits{.max_operations = 8, .max_segments = 1};
  const RwQueueNeeds without = rw_queue_needs(caps, limits);
  limits.integrity = true;
  const RwQueueNeeds with = rw_queue_needs(caps, limits);
  EXPECT_EQ(without.integrity_mrs, 0u);
  EXPECT_EQ(with.integrity_mrs, 8u);
  EXPECT_EQ(with.integrity_access, Access::kLocalWrite);
  // kRegMr, the WRITE, kLocalInv instead of the WRITE alone.
  EXPECT_EQ(without.send_wr, 8u);
  EXPECT_EQ(with.send_wr, 24u);
}

}  // namespace
}  // namespace mrpool
