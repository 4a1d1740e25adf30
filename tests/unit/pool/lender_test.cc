#include "mrpool/lender.h"

#include <gtest/gtest.h>

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "tests/unit/pool/fake_device.h"

namespace mrpool {
namespace {

using testing::fake_caps;
using testing::FakePd;
using testing::FakeQp;
using testing::FakeReactor;
using enum LoanStatus;
using State = Loan::State;

constexpr Access kCeiling = Access::kLocalWrite | Access::kRemoteRead | Access::kRemoteWrite;

struct Noted : Loan {
  explicit Noted(Reactor& home) : Loan(home, to_method<&Noted::done>) {}
  void done(LoanStatus status) {
    statuses.push_back(status);
    if (then) then();
  }
  std::vector<LoanStatus> statuses;
  std::function<void()> then;
};

DeviceCaps caps_of(Registration registration) {
  DeviceCaps caps = fake_caps();
  caps.registration = registration;
  return caps;
}

class LenderTest : public ::testing::TestWithParam<Registration> {
 protected:
  void SetUp() override { connect(1); }
  void TearDown() override {
    lender.reset();
    if (pool == nullptr) return;
    EXPECT_EQ(pool->stats().in_use, 0u);
    pool->repair();
    EXPECT_EQ(pool->stats().in_repair, 0u);  // whatever happened, the pool heals
  }

  void connect(uint32_t mrs, uint32_t send_wr = 64) {
    lender.reset();
    pool = MrPool::create(pd, {.count = mrs, .max_segments = 1, .access = kCeiling}).value();
    qp.emplace(pd, reactor, send_wr, 1);
    lender = Lender::create(*qp, *pool).value();
  }
  bool registers() const { return GetParam() != Registration::kPreRegistered; }

  LoanStatus begin(Loan& loan) { return lender->begin(loan, {&memory, 1}, Access::kRemoteRead); }
  PostStatus post(Loan& loan) {
    const WorkRequest send{.signalled = false};
    return lender->post(loan, send).status;
  }
  void lend(Loan& loan) {
    ASSERT_EQ(begin(loan), kReady);
    ASSERT_EQ(post(loan), PostStatus::kOk);
    ASSERT_EQ(loan.state(), State::kLent);
    qp->complete_all();
  }
  WorkCompletion answer(Rkey ended) const {
    return {.opcode = Opcode::kRecv, .invalidated = true, .invalidated_rkey = ended};
  }
  void disconnect() {
    qp->fail();
    lender->stop();
    qp.reset();
  }

  std::array<std::byte, 64> bytes{};
  Sge memory{bytes.data(), 64, {7}};
  FakePd pd{caps_of(GetParam())};
  FakeReactor reactor;
  std::unique_ptr<MrPool> pool;
  std::optional<FakeQp> qp;
  std::unique_ptr<Lender> lender;
};

TEST_P(LenderTest, RegistersExactlyWhatWasAskedInFrontOfTheMessage) {
  Noted loan(reactor);
  EXPECT_EQ(loan.state(), State::kIdle);
  ASSERT_EQ(begin(loan), kReady);
  EXPECT_EQ(loan.remote().length, 64u);
  EXPECT_EQ(loan.remote().addr.value, reinterpret_cast<uint64_t>(bytes.data()));
  ASSERT_EQ(post(loan), PostStatus::kOk);
  EXPECT_EQ(qp->posts, 1);  // one chain
  ASSERT_EQ(qp->history.size(), registers() ? 2u : 1u);
  EXPECT_EQ(qp->history.back().wr.opcode, Opcode::kSend);
  if (registers()) {
    const WorkRequest& registration = qp->history[0].wr;
    EXPECT_EQ(registration.opcode, Opcode::kRegMr);
    EXPECT_EQ(registration.access, Access::kRemoteRead);
    EXPECT_EQ(registration.mr->rkey(), loan.remote().rkey);
    EXPECT_FALSE(registration.signalled);
  }
  disconnect();
  EXPECT_EQ(lender->end(loan), kReturned);
}

TEST_P(LenderTest, ThePeerEndsTheKey) {
  Noted loan(reactor);
  lend(loan);
  const LoanStatus ended = lender->end(loan, answer(loan.remote().rkey));
  if (!registers()) {
    // There was no key to end: the peer has ended the region's own.
    EXPECT_EQ(ended, kWrongKey);
    EXPECT_EQ(lender->end(loan), kReturned);
    return;
  }
  EXPECT_EQ(ended, kReturned);
  EXPECT_EQ(loan.state(), State::kIdle);
  EXPECT_EQ(qp->posts, 1);
  EXPECT_TRUE(loan.statuses.empty());
  EXPECT_EQ(pool->stats().in_repair, 0u);
}

TEST_P(LenderTest, ThePeerNeverEndsTheKey) {
  Noted loan(reactor);
  lend(loan);
  const Rkey key = loan.remote().rkey;
  const LoanStatus ended = lender->end(loan, {.opcode = Opcode::kRecv});
  if (!registers()) {
    EXPECT_EQ(ended, kReturned);
    return;
  }
  ASSERT_EQ(ended, kPending);
  EXPECT_EQ(loan.state(), State::kEnding);
  EXPECT_EQ(qp->history.back().wr.opcode, Opcode::kLocalInv);
  EXPECT_EQ(qp->history.back().wr.rkey, key);
  EXPECT_EQ(lender->end(loan), kPending);  // does not end it twice
  EXPECT_EQ(qp->posts, 2);
  EXPECT_TRUE(loan.statuses.empty());
  qp->complete_all();
  EXPECT_EQ(loan.statuses, (std::vector{kReturned}));
  EXPECT_EQ(pool->stats().in_repair, 0u);
}

TEST_P(LenderTest, AnotherKeyEndsNoLoan) {
  Noted loan(reactor);
  EXPECT_EQ(lender->end(loan, answer({1})), kWrongKey);  // nothing was lent
  EXPECT_EQ(lender->end(loan, {.opcode = Opcode::kRecv}), kReturned);
  lend(loan);
  EXPECT_EQ(lender->end(loan, answer({loan.remote().rkey.value + 1})), kWrongKey);
  EXPECT_EQ(loan.state(), State::kLent);
  disconnect();
  EXPECT_EQ(lender->end(loan), kReturned);
  EXPECT_EQ(pool->stats().in_repair, registers() ? 1u : 0u);
}

TEST_P(LenderTest, RefusesWhatCannotBeDoneAndHoldsNothing) {
  Noted loan(reactor);
  const std::array<Sge, 2> two{memory, memory};
  EXPECT_EQ(lender->begin(loan, two, Access::kRemoteRead), kNotMapped);
  EXPECT_EQ(lender->begin(loan, {&memory, 1}, Access::kRemoteAtomic), kAccessDenied);
  EXPECT_EQ(loan.state(), State::kIdle);
  EXPECT_EQ(pool->stats().in_use, 0u);
}

TEST_P(LenderTest, AnotherPdsPoolIsRefused) {
  FakePd other(caps_of(GetParam()));
  auto foreign = MrPool::create(other, {.count = 1, .max_segments = 1}).value();
  EXPECT_EQ(Lender::create(*qp, *foreign).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_P(LenderTest, APoolOfOneServesManyLoansInOrder) {
  std::vector<std::unique_ptr<Noted>> loans;
  std::vector<size_t> order;
  for (size_t i = 0; i < 5; ++i) {
    loans.push_back(std::make_unique<Noted>(reactor));
    if (i == 0) {
      lend(*loans[0]);
      continue;
    }
    ASSERT_EQ(begin(*loans[i]), kPending);
    loans[i]->then = [&, i] {
      if (loans[i]->statuses.back() != kReady) return;
      order.push_back(i);
      EXPECT_EQ(post(*loans[i]), PostStatus::kOk);
    };
  }
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(order.size(), i);
    if (lender->end(*loans[i]) == kPending) qp->complete_all();
    reactor.poll();
  }
  EXPECT_EQ(order, (std::vector<size_t>{1, 2, 3, 4}));
}

TEST_P(LenderTest, ANewLoanDoesNotOvertakeOneThatWaits) {
  Noted first(reactor), second(reactor);
  {
    const MrPool::Lease taken = pool->get();
    ASSERT_EQ(begin(first), kPending);
  }  // free, and granted: done() is on its way
  EXPECT_EQ(begin(second), kPending);
  reactor.poll();
  EXPECT_EQ(first.statuses, (std::vector{kReady}));
  EXPECT_TRUE(second.statuses.empty());
  EXPECT_EQ(lender->end(first), kReturned);
  reactor.poll();
  EXPECT_EQ(second.statuses, (std::vector{kReady}));
  EXPECT_EQ(lender->end(second), kReturned);
}

TEST_P(LenderTest, WhatIsRefusedAfterAWaitIsReported) {
  Noted loan(reactor);
  {
    const MrPool::Lease taken = pool->get();
    ASSERT_EQ(lender->begin(loan, {&memory, 1}, Access::kRemoteAtomic), kPending);
  }
  reactor.poll();
  EXPECT_EQ(loan.statuses, (std::vector{kAccessDenied}));
  EXPECT_EQ(loan.state(), State::kIdle);
}

TEST_P(LenderTest, EndIsFinalAtEachStep) {
  Noted loan(reactor);
  {
    const MrPool::Lease taken = pool->get();
    ASSERT_EQ(begin(loan), kPending);  // waits
    EXPECT_EQ(lender->end(loan), kReturned);
    ASSERT_EQ(begin(loan), kPending);
  }
  EXPECT_EQ(lender->end(loan), kReturned);  // an MR was given to it
  reactor.poll();
  EXPECT_TRUE(loan.statuses.empty());
  ASSERT_EQ(begin(loan), kReady);  // a key, not posted
  EXPECT_EQ(lender->end(loan), kReturned);
  EXPECT_EQ(pool->stats().in_repair, 0u);
  EXPECT_EQ(qp->posts, 0);
  lend(loan);  // given out
  if (lender->end(loan) == kPending) qp->complete_all();
  EXPECT_EQ(loan.statuses, registers() ? std::vector{kReturned} : std::vector<LoanStatus>{});
  EXPECT_EQ(lender->end(loan), kReturned);  // idle
  EXPECT_EQ(pool->stats().in_repair, 0u);
}

TEST_P(LenderTest, ALoanMayBeDestroyedAtEachStep) {
  {
    const MrPool::Lease taken = pool->get();
    Noted waits(reactor);
    ASSERT_EQ(begin(waits), kPending);
  }
  {
    auto granted = std::make_unique<Noted>(reactor);
    MrPool::Lease taken = pool->get();
    ASSERT_EQ(begin(*granted), kPending);
    taken.reset();
    granted.reset();
  }
  reactor.poll();
  {
    Noted ready(reactor);
    ASSERT_EQ(begin(ready), kReady);
  }
  EXPECT_EQ(pool->stats().in_repair, 0u);
  {
    Noted lent(reactor);
    lend(lent);
    disconnect();
  }
  EXPECT_EQ(pool->stats().in_repair, registers() ? 1u : 0u);
}

TEST_P(LenderTest, TheQpBreaksAtEachStep) {
  Noted loan(reactor);
  ASSERT_EQ(begin(loan), kReady);
  disconnect();  // before the post
  EXPECT_EQ(post(loan), PostStatus::kNotConnected);
  EXPECT_EQ(lender->end(loan), kReturned);
  EXPECT_EQ(pool->stats().in_repair, 0u);

  connect(1);
  lend(loan);
  disconnect();  // with the key out
  EXPECT_EQ(lender->end(loan), kReturned);
  EXPECT_EQ(pool->stats().in_repair, registers() ? 1u : 0u);
  ASSERT_EQ(pool->repair(), registers() ? 1u : 0u);

  connect(1);
  lend(loan);
  if (lender->end(loan) == kPending) {
    disconnect();  // with the invalidation under way
    EXPECT_EQ(loan.statuses, (std::vector{kLost}));
    EXPECT_EQ(pool->stats().in_repair, 1u);
  }
  EXPECT_EQ(lender->end(loan), kReturned);
}

TEST_P(LenderTest, ARefusedRegistrationLeavesNoLiveKey) {
  Noted loan(reactor);
  ASSERT_EQ(begin(loan), kReady);
  qp->accept = 0;
  const WorkRequest send{.signalled = false};
  const PostResult result = lender->post(loan, send);
  EXPECT_EQ(result.status, PostStatus::kBadSge);
  EXPECT_EQ(result.refused, &send);
  EXPECT_EQ(lender->end(loan), kReturned);
  EXPECT_EQ(pool->stats().in_repair, 0u);
}

TEST_P(LenderTest, ARefusedMessageLeavesAKeyToEnd) {
  Noted loan(reactor);
  ASSERT_EQ(begin(loan), kReady);
  qp->accept = registers() ? 1 : 0;
  const WorkRequest send{.signalled = false};
  EXPECT_EQ(lender->post(loan, send).refused, &send);
  qp->accept = -1;
  if (lender->end(loan) == kPending) {
    qp->complete_all();
    EXPECT_EQ(loan.statuses, (std::vector{kReturned}));
  }
  EXPECT_EQ(pool->stats().in_repair, 0u);
}

TEST_P(LenderTest, ARefusedInvalidationLeavesTheLoanAsItWas) {
  Noted loan(reactor);
  lend(loan);
  qp->accept = 0;
  if (!registers()) {
    EXPECT_EQ(lender->end(loan), kReturned);
    return;
  }
  EXPECT_EQ(lender->end(loan), kNotPosted);
  EXPECT_EQ(loan.state(), State::kLent);
  disconnect();
  EXPECT_EQ(lender->end(loan), kReturned);
}

TEST_P(LenderTest, BeginsAgainFromInsideDone) {
  Noted loan(reactor);
  lend(loan);
  loan.then = [&] { EXPECT_EQ(begin(loan), kReady); };
  if (lender->end(loan) == kPending) {
    qp->complete_all();
    EXPECT_EQ(loan.state(), State::kReady);
  }
  EXPECT_EQ(lender->end(loan), kReturned);
}

TEST_P(LenderTest, MisuseAborts) {
  Noted loan(reactor);
  const WorkRequest send;
  EXPECT_DEATH((void)lender->post(loan, send), "without a key");
  ASSERT_EQ(begin(loan), kReady);
  EXPECT_DEATH((void)begin(loan), "under way");
  Noted waits(reactor);
  ASSERT_EQ(begin(waits), kPending);
  EXPECT_DEATH(lender.reset(), "loans wait");
  EXPECT_EQ(lender->end(waits), kReturned);
  EXPECT_EQ(lender->end(loan), kReturned);
}

INSTANTIATE_TEST_SUITE_P(EveryKind, LenderTest,
                         ::testing::Values(Registration::kFastReg, Registration::kMemoryWindow,
                                           Registration::kPreRegistered),
                         [](const auto& kind) { return "kind" + std::to_string(int(kind.param)); });

TEST(PeerMayInvalidate, OnlyFastRegisteredKeys) {
  EXPECT_TRUE(peer_may_invalidate(caps_of(Registration::kFastReg)));
  EXPECT_FALSE(peer_may_invalidate(caps_of(Registration::kMemoryWindow)));
  EXPECT_FALSE(peer_may_invalidate(caps_of(Registration::kPreRegistered)));
  DeviceCaps caps = fake_caps();
  caps.send_with_inv = false;
  EXPECT_FALSE(peer_may_invalidate(caps));
}

}  // namespace
}  // namespace mrpool
