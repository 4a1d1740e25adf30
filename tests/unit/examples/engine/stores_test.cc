// Stores that do not respond: reported once by name, for all waiters, and again when they respond.
#include "examples/engine/stores.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>

#include "examples/base/log_thread.h"
#include "examples/storage/faults.h"
#include "tests/sim/reactor.h"

namespace mrpool::engine {
namespace {

using std::chrono::seconds;

// Two workers with their ways to a store that takes a minute for a read.
class StoresTest : public ::testing::Test {
 protected:
  StoresTest() {
    plan_->add({.op = storage::Op::kRead, .delay = seconds(60)});
    volume_ = storage::with_faults(*storage::open("ram:1MiB"), plan_);
    for (auto& way : ways_) way = *volume_->open_channel(reactor_);
  }
  void read(size_t worker, storage::Io& io) {
    io.op = storage::Op::kRead;
    io.length = block_.size();
    io.buffers = {&to_, 1};
    ASSERT_FALSE(ways_[worker]->submit(io));
  }
  // The stderr output of a check by every worker.
  std::string look() {
    ::testing::internal::CaptureStderr();
    for (uint32_t i = 0; i < ways_.size(); ++i) {
      stores_.look(i, reactor_.now(), seconds(10), slow_, [&](const StoreVisitor& each) {
        if (ways_[i] != nullptr) each(*volume_, *ways_[i]);
      });
    }
    base::flush_log();
    return ::testing::internal::GetCapturedStderr();
  }
  void run_for(Nanoseconds time) {
    Timer timer([](Timer&) {});
    timer.arm(reactor_, time);
    while (timer.armed() && reactor_.step()) {
    }
  }

  sim::SimReactor reactor_;
  std::shared_ptr<storage::FaultPlan> plan_ = std::make_shared<storage::FaultPlan>();
  std::shared_ptr<storage::Volume> volume_;
  std::array<std::unique_ptr<storage::Channel>, 2> ways_;
  std::array<std::byte, 4096> block_;
  const iovec to_{block_.data(), block_.size()};
  Nanoseconds slow_ = Nanoseconds::max();
  Stores stores_;
};

TEST_F(StoresTest, AreReportedOnceAndWhenTheyAnswerAgain) {
  storage::Io first([](storage::Io&) {}), second([](storage::Io&) {});
  read(0, first);
  run_for(seconds(5));
  EXPECT_EQ(look(), "");
  EXPECT_TRUE(stores_.hung().empty());
  read(1, second);
  run_for(seconds(6));
  EXPECT_EQ(look(),
            "ram:1MiB does not answer: 1 requests wait, the oldest for 11 s; check the device\n");
  EXPECT_EQ(stores_.hung(), std::vector<std::string>{"ram:1MiB"});
  run_for(seconds(30));
  EXPECT_EQ(look(), "") << "once, not for each worker and look";
  run_for(seconds(21));
  EXPECT_EQ(look(), "") << "the second worker still waits";
  run_for(seconds(10));
  EXPECT_EQ(look(), "ram:1MiB answers again, after 57 s\n");
  EXPECT_TRUE(stores_.hung().empty());
  EXPECT_EQ(look(), "");
}

TEST_F(StoresTest, AreForgottenWithTheLastWayToThem) {
  storage::Io io([](storage::Io&) {});
  read(0, io);
  run_for(seconds(11));
  EXPECT_NE(look(), "");
  run_for(seconds(60));
  ways_[0].reset();
  EXPECT_NE(look(), "");
  EXPECT_TRUE(stores_.hung().empty());
}

TEST_F(StoresTest, ReportWhatFailedAndWhatWasSlowTogether) {
  slow_ = seconds(2);
  storage::Io first([](storage::Io&) {}), second([](storage::Io&) {});
  read(0, first);
  run_for(seconds(61));
  EXPECT_EQ(look(), "ram:1MiB is slow: a read took 60s\n");
  EXPECT_EQ(look(), "");
  plan_->clear();
  plan_->add({.op = storage::Op::kRead, .error = storage::Error::kMediaRead, .delay = seconds(1)});
  read(0, first);
  read(1, second);
  run_for(seconds(2));
  EXPECT_EQ(look(), "") << "the last report is too new";
  run_for(seconds(10));
  EXPECT_EQ(look(),
            "ram:1MiB: 2 requests failed, the last one a read of 4096 bytes at 0: an I/O error; "
            "check the device\n");
  EXPECT_EQ(look(), "");
}

}  // namespace
}  // namespace mrpool::engine
