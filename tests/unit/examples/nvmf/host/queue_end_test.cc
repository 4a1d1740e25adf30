// A Queue whose commands or connection end early: tried again, given up, closed.
#include "tests/unit/examples/nvmf/host/queue_fixture.h"

namespace mrpool::nvme::host {
namespace {

using ::testing::HasSubstr;

TEST_F(QueueTest, ALostConnectionFailsCommandsOnce) {
  make();
  open();
  TestRequest requests[6];
  for (auto& request : requests) {
    request.data = bytes(512);
    queue_->submit(request);
  }
  qp().end(DisconnectReason::kReset);
  reactor_.poll();
  for (const auto& request : requests) {
    EXPECT_EQ(request.times, 1);
    EXPECT_EQ(request.outcome->status, kHostPathing);
  }
  EXPECT_THAT(queue_->describe(kHostPathing), HasSubstr("127.0.0.1:4420"));
  EXPECT_EQ(lost_.size(), 1u);
  TestRequest late;
  queue_->submit(late);
  EXPECT_EQ(late.times, 0);  // never from inside submit
  reactor_.poll();
  EXPECT_EQ(late.times, 1);
}

// The callback of a failed command may destroy the whole queue.
TEST_F(QueueTest, ARequestThatALostConnectionFailedMayDestroyTheQueue) {
  for (size_t which = 0; which < 6; ++which) {
    SCOPED_TRACE(which);
    make();
    open();
    TestRequest requests[6];  // four at the controller, two that wait
    for (auto& request : requests) {
      request.data = bytes(512);
      queue_->submit(request);
    }
    requests[which].then = [this] { queue_.reset(); };
    qp().end(DisconnectReason::kReset);
    reactor_.poll();
    EXPECT_EQ(queue_, nullptr);
    for (const auto& request : requests) EXPECT_EQ(request.times, 1);
  }
}

TEST_F(QueueTest, ARequestOfAClosedQueueMayDestroyIt) {
  make();
  TestRequest requests[3];
  for (auto& request : requests) queue_->submit(request);
  for (const auto& request : requests) EXPECT_EQ(request.times, 0);
  requests[0].then = [this] { queue_.reset(); };
  reactor_.poll();
  for (const auto& request : requests) EXPECT_EQ(request.times, 1);
}

TEST_F(QueueTest, ACommandThatIsRefusedForNowIsTriedAgain) {
  make();
  open();
  TestRequest write(IoOpcode::kWrite, bytes(512));
  queue_->submit(write);
  for (size_t i = 0; i < load::kMostRetries; ++i) {
    qp().complete_sends();
    const size_t sent = qp().commands.size();
    qp().answer(last(), 0, Status::kNamespaceNotReady);
    const Nanoseconds delay = load::retry_delay(uint8_t(i));
    reactor_.advance(delay - Nanoseconds(1));
    EXPECT_EQ(qp().commands.size(), sent) << "too early";
    EXPECT_EQ(write.times, 0);
    reactor_.advance(Nanoseconds(1));
    ASSERT_EQ(qp().commands.size(), sent + 1);
  }
  qp().complete_sends();
  qp().answer(last(), 0, Status::kNamespaceNotReady);
  EXPECT_EQ(write.times, 1) << "it gives up in the end";
  EXPECT_EQ(queue_->counters().retried, uint64_t{load::kMostRetries});
  // The count restarts with each command.
  queue_->submit(write);
  qp().complete_sends();
  qp().answer(last(), 0, Status::kNamespaceNotReady);
  reactor_.advance(load::kFirstRetryDelay);
  qp().complete_sends();
  qp().answer(last());
  EXPECT_EQ(write.times, 2);
  EXPECT_EQ(write.outcome->status, Status::kSuccess);
}

TEST_F(QueueTest, TheControllerAnnouncesWhenToRetry) {
  make();
  queue_->set_retry_delays(
      {std::chrono::seconds(1), std::chrono::seconds(2), std::chrono::hours(2)});
  open();
  TestRequest read(IoOpcode::kRead, bytes(512));
  const auto refuse = [&](unsigned delay) {
    qp().complete_sends();
    qp().answer(last(), 0, Status(uint16_t(Status::kNamespaceNotReady) | delay << 11));
    return qp().commands.size();
  };
  queue_->submit(read);
  size_t sent = refuse(2);
  reactor_.advance(std::chrono::milliseconds(1999));
  EXPECT_EQ(qp().commands.size(), sent);
  reactor_.advance(std::chrono::milliseconds(1));
  EXPECT_EQ(qp().commands.size(), sent + 1);
  // Never longer than a command may take.
  sent = refuse(3);
  reactor_.advance(QueueOptions{}.command_timeout);
  EXPECT_EQ(qp().commands.size(), sent + 1);
  qp().complete_sends();
  qp().answer(last());
  EXPECT_EQ(read.times, 1);
}

TEST_F(QueueTest, ACommandThatWaitsToBeTriedAgainFollowsItsConnection) {
  for (const bool retain : {false, true}) {
    SCOPED_TRACE(retain);
    make(retain);
    open();
    TestRequest read(IoOpcode::kRead, bytes(512));
    queue_->submit(read);
    qp().complete_sends();
    qp().answer(last(), 0, Status::kNamespaceNotReady);
    qp().end(DisconnectReason::kReset);
    reactor_.poll();
    EXPECT_EQ(read.times, retain ? 0 : 1);
    if (retain) {
      open();
      qp().complete_sends();
      ASSERT_EQ(qp().commands.size(), 2u);
      qp().answer(last());
      EXPECT_EQ(read.times, 1);
    }
    queue_.reset();
  }
}

TEST_F(QueueTest, RetainedCommandsGoOutAgainWithFreshKeys) {
  make(true);
  open();
  TestRequest requests[6];
  for (auto& request : requests) {
    request.data = bytes(512);
    queue_->submit(request);
  }
  const Rkey old_key = last().sqe.sgl.key();
  qp().complete_sends();
  qp().end(DisconnectReason::kReset);
  for (const auto& request : requests) EXPECT_EQ(request.times, 0);
  EXPECT_GT(pool_->stats().in_repair, 0u);  // their keys may be live

  open();
  EXPECT_EQ(device_.connects, 2);
  for (size_t i = 0; i < 6; ++i) {
    qp().complete_sends();
    ASSERT_GT(qp().commands.size(), 1 + i);
    EXPECT_NE(qp().commands[1 + i].sqe.sgl.key(), old_key);
    qp().answer(qp().commands[1 + i]);
  }
  for (const auto& request : requests) {
    EXPECT_EQ(request.times, 1);
    EXPECT_EQ(request.outcome->status, Status::kSuccess);
  }
  EXPECT_EQ(queue_->counters().resubmitted, 4u);
}

TEST_F(QueueTest, NothingGoesOutBeforeTheControllerIsJoined) {
  make(true);
  begin_open();
  qp().accept();
  ASSERT_EQ(qp().commands.size(), 1u);
  TestRequest request(IoOpcode::kRead, bytes(512));
  queue_->submit(request);
  EXPECT_EQ(qp().commands.size(), 1u) << "the controller would refuse it";
  qp().complete_sends();
  qp().answer(qp().commands[0], 7);
  ASSERT_EQ(qp().commands.size(), 2u);
  qp().complete_sends();
  qp().answer(qp().commands[1]);
  EXPECT_EQ(request.times, 1);
}

TEST_F(QueueTest, AConnectionLostBeforeTheConnectCommandFailsTheOpening) {
  make(true, 4, 1);
  MrPool::Lease elsewhere = pool_->get();
  begin_open();
  qp().accept();
  qp().end(DisconnectReason::kReset);
  reactor_.poll();
  ASSERT_TRUE(opened_.has_value());
  EXPECT_FALSE(opened_->ok());
  // A closed queue keeps no MR from others.
  elsewhere.reset();
  reactor_.poll();
  EXPECT_EQ(pool_->stats().in_use, 0u);
}

// Linux's target does so for a wrong secret, before its message is out.
TEST_F(QueueTest, AConnectionLostDuringTheAuthenticationNamesTheSecret) {
  auth::HostSecrets secrets;
  secrets.key.key = auth::Wiped(std::vector<uint8_t>(32, 7));
  secrets_ = std::make_shared<const auth::HostSecrets>(std::move(secrets));
  make();
  begin_open();
  qp().accept();
  for (const uint32_t result : {7 | kConnectMustAuthenticate, 0u}) {
    qp().complete_sends();
    qp().answer(last(), result);
  }
  ASSERT_EQ(qp().commands.size(), 3u);  // Connect, Authentication Send and Receive
  ASSERT_FALSE(opened_.has_value());
  qp().end(DisconnectReason::kPeer);
  reactor_.poll();
  ASSERT_TRUE(opened_.has_value());
  EXPECT_TRUE(absl::IsUnavailable(*opened_)) << *opened_;
  EXPECT_THAT(std::string(opened_->message()), HasSubstr("--dhchap-secret"));
}

TEST_F(QueueTest, GivingUpEndsWhatWaits) {
  make(true);
  open();
  TestRequest requests[6];
  for (auto& request : requests) queue_->submit(request);
  qp().end();
  queue_->give_up();
  reactor_.poll();
  for (const auto& request : requests) EXPECT_EQ(request.times, 1);
}

TEST_F(QueueTest, ACommandWithoutAnswerTimesOutButAnEventRequestDoesNot) {
  make();
  open();
  TestRequest event;
  event.never_late = true;
  queue_->submit(event);
  qp().complete_sends();
  reactor_.advance(std::chrono::minutes(10));
  EXPECT_FALSE(qp().aborted);
  TestRequest read;
  queue_->submit(read);
  qp().complete_sends();
  reactor_.advance(std::chrono::seconds(32));
  EXPECT_TRUE(qp().aborted);
  qp().end();
  ASSERT_EQ(lost_.size(), 1u);
  EXPECT_THAT(lost_[0], HasSubstr("no answer"));
  reactor_.poll();
  EXPECT_THAT(queue_->describe(read.outcome->status), HasSubstr("no answer")) << "the cause";
}

TEST_F(QueueTest, ClosingAConnectingQueueNotifiesBothSides) {
  for (const bool accepted : {false, true}) {
    SCOPED_TRACE(accepted);
    make();
    begin_open();
    bool closed = false;
    spawn([](Queue& queue, bool& flag) -> Async<> {
      co_await queue.close();
      flag = true;
    }(*queue_, closed));
    if (accepted) qp().accept();  // it comes too late
    EXPECT_FALSE(closed);
    qp().end(DisconnectReason::kLocal);
    reactor_.poll();
    EXPECT_TRUE(closed);
    ASSERT_TRUE(opened_.has_value());
    EXPECT_FALSE(opened_->ok());
    queue_.reset();
  }
}

TEST_F(QueueTest, CloseNotifiesNoCommand) {
  make();
  open();
  bool closed = false;
  spawn([](Queue& queue, bool& flag) -> Async<> {
    co_await queue.close();
    flag = true;
  }(*queue_, closed));
  EXPECT_TRUE(qp().ending());
  EXPECT_FALSE(qp().aborted);  // nothing was under way
  qp().end(DisconnectReason::kLocal);
  EXPECT_TRUE(closed);
  EXPECT_TRUE(lost_.empty());
}

TEST_F(QueueTest, DestroyingAnOpenQueueEndsEveryRequest) {
  make(true);
  open();
  TestRequest requests[6];
  for (auto& request : requests) queue_->submit(request);
  queue_.reset();
  for (const auto& request : requests) {
    EXPECT_EQ(request.times, 1);
    EXPECT_EQ(request.outcome->status, kAbortedByHost);
  }
}

}  // namespace
}  // namespace mrpool::nvme::host
