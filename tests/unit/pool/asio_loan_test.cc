#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <memory>
#include <vector>

#include "mrpool/asio.h"
#include "tests/unit/pool/fake_device.h"

namespace mrpool {
namespace {

using boost::asio::cancellation_type;
using ::testing::ElementsAre;
using testing::FakePd;
using testing::FakeQp;

class AsioLoanTest : public ::testing::Test {
 protected:
  void poll() {
    for (int i = 0; i < 1000; ++i) reactor->poll();
  }

  std::unique_ptr<Reactor> reactor = Reactor::create({.spin = Nanoseconds::zero()}).value();
  FakePd pd;
  std::unique_ptr<MrPool> pool =
      MrPool::create(pd, {.count = 1, .access = Access::kRemoteRead}).value();
  FakeQp qp{pd, *reactor, 16, 1};
  std::unique_ptr<Lender> lender = Lender::create(qp, *pool).value();
  std::array<std::byte, 8> bytes{};
  const Sge memory{bytes.data(), 8, {1}};
};

TEST_F(AsioLoanTest, ACoroutineReadsFromTopToBottom) {
  std::vector<LoanStatus> statuses;
  boost::asio::co_spawn(
      io_context(*reactor),
      [&]() -> boost::asio::awaitable<void> {
        AsioLoan loan(*reactor);
        statuses.push_back(co_await loan.async_begin(*lender, {&memory, 1}, Access::kRemoteRead));
        EXPECT_EQ(loan.remote().length, 8u);
        const WorkRequest send{.signalled = false};
        EXPECT_TRUE(lender->post(loan.loan(), send).ok());
        statuses.push_back(co_await loan.async_end(*lender));
      },
      boost::asio::detached);
  poll();
  EXPECT_THAT(statuses, ElementsAre(LoanStatus::kReady));  // the invalidation is under way
  qp.complete_all();
  poll();
  EXPECT_THAT(statuses, ElementsAre(LoanStatus::kReady, LoanStatus::kReturned));
  EXPECT_EQ(pool->stats().in_use, 0u);
}

TEST_F(AsioLoanTest, AWaitForAnMrEndsWhenItIsCancelled) {
  MrPool::Lease taken = pool->get();
  std::vector<LoanStatus> statuses;
  boost::asio::cancellation_signal signal;
  {
    AsioLoan loan(*reactor);
    loan.async_begin(*lender, {&memory, 1}, Access::kRemoteRead,
                     boost::asio::bind_cancellation_slot(
                         signal.slot(), [&](LoanStatus status) { statuses.push_back(status); }));
    signal.emit(cancellation_type::all);
    EXPECT_EQ(loan.loan().state(), Loan::State::kIdle);
  }
  signal.emit(cancellation_type::all);  // of what is gone
  taken.reset();
  poll();
  EXPECT_THAT(statuses, ElementsAre(LoanStatus::kReturned));
  EXPECT_EQ(pool->stats().in_use, 0u);
}

TEST_F(AsioLoanTest, TheEndOfAKeyIsNotCutShort) {
  AsioLoan loan(*reactor);
  std::vector<LoanStatus> statuses;
  boost::asio::cancellation_signal signal;
  const auto note = [&](LoanStatus status) { statuses.push_back(status); };
  loan.async_begin(*lender, {&memory, 1}, Access::kRemoteRead, note);
  poll();
  const WorkRequest send{.signalled = false};
  ASSERT_TRUE(lender->post(loan.loan(), send).ok());
  loan.async_end(*lender, {}, boost::asio::bind_cancellation_slot(signal.slot(), note));
  signal.emit(cancellation_type::all);
  poll();
  EXPECT_THAT(statuses, ElementsAre(LoanStatus::kReady));
  qp.complete_all();
  EXPECT_THAT(statuses, ElementsAre(LoanStatus::kReady, LoanStatus::kReturned));
}

// The second would take the first one's place, which then never ended.
TEST_F(AsioLoanTest, ASecondStepBeforeTheFirstIsDoneIsMisuse) {
  AsioLoan loan(*reactor);
  const auto ignore = [](LoanStatus) {};
  loan.async_begin(*lender, {&memory, 1}, Access::kRemoteRead, ignore);
  poll();
  const WorkRequest send{.signalled = false};
  ASSERT_TRUE(lender->post(loan.loan(), send).ok());
  loan.async_end(*lender, {}, ignore);
  EXPECT_DEATH(loan.async_end(*lender, {}, ignore), "async_end: the AsioLoan .* under way");
  qp.complete_all();
}

// Both between the grant and the handler: the lease goes back, the handler runs once.
TEST_F(AsioLoanTest, AGetIsCancelledAfterItsGrant) {
  MrPool::Lease taken = pool->get();
  std::vector<bool> leases;
  boost::asio::cancellation_signal signal;
  async_get(*pool, *reactor,
            boost::asio::bind_cancellation_slot(
                signal.slot(), [&](MrPool::Lease lease) { leases.push_back(bool(lease)); }));
  taken.reset();  // granted
  EXPECT_EQ(pool->stats().in_use, 1u);
  signal.emit(cancellation_type::all);
  EXPECT_EQ(pool->stats().in_use, 0u);
  poll();
  EXPECT_THAT(leases, ElementsAre(false));
}

}  // namespace
}  // namespace mrpool
