// Loans on every device: the same calls, whatever its keys are (mrpool/lender.h).
#include "mrpool/lender.h"

#include "tests/conformance/fixture.h"

namespace mrpool::conformance {
namespace {

constexpr size_t kSize = 4096;
constexpr Access kLent = Access::kLocalWrite | Access::kRemoteRead | Access::kRemoteWrite;

struct NotedLoan : Loan {
  explicit NotedLoan(Reactor& home) : Loan(home, to_method<&NotedLoan::note>) {}
  void note(LoanStatus status) { told = status; }
  LoanStatus told = LoanStatus::kPending;
};

// The server lends, the client reads and writes what it was lent.
class Lending : public ConformanceTest {
 protected:
  void SetUp() override {
    connect();
    bytes = std::make_unique<Region>(*server.pd, kSize, base_access(caps(), kLent));
    inbox = std::make_unique<Region>(*server.pd, 64, Access::kLocalWrite);
    local = std::make_unique<Region>(*client.pd, kSize, sink_access());
    note = std::make_unique<Region>(*client.pd, 64, Access::kLocalWrite);
    bytes->fill(1);
    auto made = MrPool::create(*server.pd, {.count = 1, .max_segments = 1, .access = kLent});
    ASSERT_TRUE(made.ok()) << made.status();
    pool = *std::move(made);
    lender = Lender::create(*server.qp, *pool).value();
  }
  void TearDown() override {
    client.qp.reset();
    server.qp.reset();
    lender.reset();
  }
  bool registers() const { return caps().registration != mrpool::Registration::kPreRegistered; }

  LoanStatus begin(Loan& loan) {
    memory = bytes->sge();
    return lender->begin(loan, {&memory, 1}, kLent);
  }
  // Announces a ready loan to the client, in one chain with its registration.
  void tell(Loan& loan) {
    Op& told = client.receive(note->sge());
    const Sge text = inbox->sge(0, 4);
    const WorkRequest send{.signalled = false, .sges = {&text, 1}};
    ASSERT_TRUE(lender->post(loan, send).ok());
    ASSERT_TRUE(finish(told) && told.ok());
  }
  void client_reads(Loan& loan) {
    if (caps().registration == mrpool::Registration::kFastReg &&
        any(caps().access.known & Access::kZeroBased)) {
      EXPECT_EQ(loan.remote().addr.value, 0u) << "a peer learns no address";
    }
    Op& read = client.read(local->sge(), loan.remote().addr, loan.remote().rkey);
    ASSERT_TRUE(finish(read) && read.ok());
    EXPECT_TRUE(same_bytes(local->bytes(), bytes->bytes()));
  }
  // The client's answer, which ends `key` where one is given.
  WorkCompletion answer(std::optional<Rkey> key) {
    Op& received = server.receive(inbox->sge());
    const Sge text = note->sge(0, 4);
    if (key) {
      client.post({.opcode = Opcode::kSendWithInv, .sges = {&text, 1}, .rkey = *key});
    } else {
      client.send(text);
    }
    EXPECT_TRUE(finish(received) && received.ok());
    return received.wc;
  }
  [[nodiscard]] bool returned(const NotedLoan& loan, LoanStatus ended) {
    if (ended == LoanStatus::kReturned) return true;
    return ended == LoanStatus::kPending &&
           until([&] { return loan.told == LoanStatus::kReturned; });
  }

  std::unique_ptr<Region> bytes, inbox, local, note;
  std::unique_ptr<MrPool> pool;
  std::unique_ptr<Lender> lender;
  Sge memory;
};

TEST_F(Lending, ThePeerUsesTheKeyAndEndsIt) {
  MRPOOL_NEEDS(peer_may_invalidate(caps()));
  NotedLoan loan(*reactor);
  for (int i = 0; i < 3; ++i) {  // the pool of one serves again at once
    ASSERT_EQ(begin(loan), LoanStatus::kReady);
    tell(loan);
    client_reads(loan);
    ASSERT_EQ(lender->end(loan, answer(loan.remote().rkey)), LoanStatus::kReturned);
  }
  EXPECT_EQ(pool->stats().in_use, 0u);
  EXPECT_EQ(pool->stats().in_repair, 0u);
}

TEST_F(Lending, AKeyThatThePeerDidNotEndIsEndedLocally) {
  NotedLoan loan(*reactor);
  ASSERT_EQ(begin(loan), LoanStatus::kReady);
  tell(loan);
  client_reads(loan);
  const RemoteBuffer lent = loan.remote();
  ASSERT_TRUE(returned(loan, lender->end(loan, answer({}))));
  EXPECT_EQ(pool->stats().in_use, 0u);
  EXPECT_EQ(pool->stats().in_repair, 0u);
  if (!registers()) return;
  client.write(local->sge(0, 8), lent.addr, lent.rkey);
  EXPECT_TRUE(both_ended());
}

TEST_F(Lending, APoolOfOneServesTwoInTurn) {
  NotedLoan first(*reactor), second(*reactor);
  ASSERT_EQ(begin(first), LoanStatus::kReady);
  ASSERT_EQ(begin(second), LoanStatus::kPending);
  tell(first);
  client_reads(first);
  ASSERT_TRUE(returned(first, lender->end(first, answer({}))));
  ASSERT_TRUE(until([&] { return second.told == LoanStatus::kReady; }));
  tell(second);
  client_reads(second);
  second.told = LoanStatus::kPending;
  ASSERT_TRUE(returned(second, lender->end(second, answer({}))));
}

TEST_F(Lending, ABrokenConnectionGivesEverythingBack) {
  NotedLoan lent(*reactor), waits(*reactor);
  ASSERT_EQ(begin(lent), LoanStatus::kReady);
  tell(lent);
  ASSERT_EQ(begin(waits), LoanStatus::kPending);
  client.qp->abort();
  ASSERT_TRUE(both_ended());
  lender->stop();
  EXPECT_EQ(lender->end(lent), LoanStatus::kReturned);
  EXPECT_EQ(lender->end(waits), LoanStatus::kReturned);
  EXPECT_EQ(waits.told, LoanStatus::kPending);  // done() did not run
  pool->repair();
  EXPECT_EQ(pool->stats().in_use, 0u);
  EXPECT_EQ(pool->stats().in_repair, 0u);
}

}  // namespace
}  // namespace mrpool::conformance
