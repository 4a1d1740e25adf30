// What ends tasks and sessions: task management, logout, a login in place of another, a connection
// that breaks.

#include "tests/unit/examples/iser_target/connection_fixture.h"

namespace mrpool::iser_target {
namespace {

TEST_F(ConnectionTest, AbortTaskAnswersWhenTheTaskHasEnded) {
  Connection& connection = log_in();
  auto pdu = scsi(write10(0, 1), 512, true);
  deliver(connection, pdu, {}, kWriteKey);
  ASSERT_EQ(link.fetching.size(), 1u);
  deliver(connection, iscsi::TaskRequest{.function = iscsi::TaskFunction::kAbortTask,
                                         .task_tag = 900,
                                         .referenced_tag = pdu.task_tag});
  EXPECT_TRUE(link.out.empty());  // data still moves
  fetch_all(connection);
  const auto answer = take();
  EXPECT_EQ(op(answer), iscsi::Op::kTaskResponse);
  EXPECT_EQ(iscsi::TaskResponse::decode(bhs(answer)).response, iscsi::TaskResponse::kComplete);
  EXPECT_TRUE(link.out.empty());  // and the aborted task has no answer
  EXPECT_TRUE(connection.idle());
}

TEST_F(ConnectionTest, AnAbortThatComesTooLateIsAnsweredBehindTheAnswer) {
  Connection& connection = log_in();
  auto pdu = scsi(scsi::Cdb{0x28, 0, 0, 0, 0, 0, 0, 0, 1}, 512);
  deliver(connection, pdu, {}, kReadKey);
  take();  // the answer; it may wait for an MR behind the link
  deliver(connection, iscsi::TaskRequest{.function = iscsi::TaskFunction::kAbortTask,
                                         .task_tag = 900,
                                         .referenced_tag = pdu.task_tag});
  EXPECT_TRUE(link.out.empty());
  settle(connection);
  EXPECT_EQ(iscsi::TaskResponse::decode(bhs(take())).response, iscsi::TaskResponse::kNoTask);
}

TEST_F(ConnectionTest, AbortOfWhatIsNotThere) {
  Connection& connection = log_in();
  deliver(connection, iscsi::TaskRequest{.function = iscsi::TaskFunction::kAbortTask,
                                         .task_tag = 900,
                                         .referenced_tag = 12345});
  EXPECT_EQ(iscsi::TaskResponse::decode(bhs(take())).response, iscsi::TaskResponse::kNoTask);
  deliver(connection, iscsi::TaskRequest{.function = iscsi::TaskFunction::kLogicalUnitReset,
                                         .lun = uint64_t{9} << 48,
                                         .task_tag = 901});
  EXPECT_EQ(iscsi::TaskResponse::decode(bhs(take())).response, iscsi::TaskResponse::kNoLun);
  deliver(connection,
          iscsi::TaskRequest{.function = iscsi::TaskFunction::kTaskReassign, .task_tag = 902});
  EXPECT_EQ(iscsi::TaskResponse::decode(bhs(take())).response, iscsi::TaskResponse::kNoReassign);
}

TEST_F(ConnectionTest, AResetEndsTasksAndRaisesAnAttention) {
  Connection& connection = log_in();
  link.chunks_free = false;
  deliver(connection, scsi({0x28, 0, 0, 0, 0, 0, 0, 0, 1}, 512), {}, kReadKey);
  link.chunks_free = true;
  deliver(connection,
          iscsi::TaskRequest{.function = iscsi::TaskFunction::kLogicalUnitReset, .task_tag = 900});
  EXPECT_EQ(iscsi::TaskResponse::decode(bhs(take())).response, iscsi::TaskResponse::kComplete);
  EXPECT_TRUE(connection.idle());
  deliver(connection, scsi(scsi::Cdb{}));
  const auto answer = take();
  const auto response = iscsi::ScsiResponse::decode(bhs(answer));
  EXPECT_EQ(response.status, 2);
  const auto sense = scsi::decode_sense(std::span(
      reinterpret_cast<const uint8_t*>(answer.data()) + kHeaders + 2, response.data_length - 2));
  EXPECT_EQ(sense, scsi::kDeviceReset);
}

TEST_F(ConnectionTest, ATargetResetEndsTheTasksOfEverySessionAndAllHearOfIt) {
  Connection& first = log_in({}, false, /*port=*/1);
  Connection& second = log_in({}, false, /*port=*/2);
  deliver(second, scsi(write10(0, 1), 512, true), {}, kWriteKey);
  ASSERT_EQ(link.fetching.size(), 1u);
  deliver(first,
          iscsi::TaskRequest{.function = iscsi::TaskFunction::kTargetWarmReset, .task_tag = 900});
  EXPECT_TRUE(link.out.empty());  // data of the other's still moves
  fetch_all(second);
  EXPECT_EQ(iscsi::TaskResponse::decode(bhs(take())).response, iscsi::TaskResponse::kComplete);
  EXPECT_TRUE(link.out.empty());
  EXPECT_TRUE(second.idle());
  EXPECT_EQ(attention(second, 0), scsi::kDeviceReset);
  cmd_sn = 2;  // the first session's next
  EXPECT_EQ(attention(first, 0), scsi::kDeviceReset);
}

TEST_F(ConnectionTest, LogoutWaitsForTasksAndDisconnects) {
  Connection& connection = log_in();
  deliver(connection, scsi(write10(0, 1), 512, true), {}, kWriteKey);
  deliver(connection, iscsi::LogoutRequest{.immediate = true, .task_tag = 77});
  EXPECT_TRUE(link.out.empty());
  fetch_all(connection);
  const auto answer = take();
  EXPECT_EQ(op(answer), iscsi::Op::kLogoutResponse);
  EXPECT_EQ(iscsi::LogoutResponse::decode(bhs(answer)).response, iscsi::LogoutResponse::kClosed);
  EXPECT_TRUE(link.disconnected);
}

TEST_F(ConnectionTest, LogoutForRecoveryIsRefused) {
  Connection& connection = log_in();
  deliver(connection, iscsi::LogoutRequest{.immediate = true,
                                           .reason = iscsi::LogoutRequest::kRemoveForRecovery,
                                           .task_tag = 77});
  EXPECT_EQ(iscsi::LogoutResponse::decode(bhs(take())).response,
            iscsi::LogoutResponse::kRecoveryNotSupported);
  EXPECT_FALSE(link.disconnected);
}

TEST_F(ConnectionTest, ASecondLoginOfTheSamePortEndsTheFirst) {
  log_in();
  EXPECT_FALSE(link.dropped);
  log_in({}, false, /*port=*/2);
  EXPECT_FALSE(link.dropped);
  connect();
  iscsi::InitiatorLoginOptions options;
  options.initiator = kHost;
  options.target = kDisk;
  options.isid = {0x80, 0, 0, 0, 0, 1};
  const auto request = iscsi::InitiatorLogin(options).first();
  deliver(*connections.back(), request.header, request.text);
  EXPECT_TRUE(link.dropped);
  EXPECT_THAT(link.reason, testing::HasSubstr("logged in again"));
}

// A task of the session that is replaced may still write: the new login is answered after it.
TEST_F(ConnectionTest, ALoginWaitsForTheTasksOfTheSessionItReplaces) {
  for (const bool lost_before : {false, true}) {
    SCOPED_TRACE(lost_before);
    Connection& first = log_in();
    deliver(first, scsi(write10(0, 16), 8192, true), {}, kWriteKey);
    ASSERT_EQ(link.fetching.size(), 1u);
    if (lost_before) first.closed();
    link.dropped = false;
    Connection& second = connect();
    iscsi::InitiatorLoginOptions options;
    options.initiator = kHost;
    options.target = kDisk;
    options.isid = {0x80, 0, 0, 0, 0, 1};
    iscsi::InitiatorLogin login(options);
    std::optional<iscsi::InitiatorLogin::Request> next = login.first();
    deliver(second, next->header, next->text);
    while (!link.out.empty()) {
      const auto answer = take();
      std::optional<iscsi::InitiatorLogin::Request> following;
      const auto response = iscsi::LoginResponse::decode(bhs(answer));
      ASSERT_TRUE(login.on_response(response, data(answer), following).ok());
      ASSERT_TRUE(following) << "the login was answered";
      deliver(second, following->header, following->text);
    }
    EXPECT_EQ(link.dropped, !lost_before);
    if (!lost_before) first.closed();
    EXPECT_FALSE(second.full_feature());
    EXPECT_TRUE(link.out.empty());
    for (Task* task : std::exchange(link.fetching, {})) first.fetched(*task, false);
    EXPECT_TRUE(first.idle());
    EXPECT_TRUE(second.full_feature());
    EXPECT_EQ(op(take()), iscsi::Op::kLoginResponse);
    second.closed();
  }
}

// Who sends on without its answer is cut off; who goes away is not answered.
TEST_F(ConnectionTest, AHeldLoginEndsWithItsConnection) {
  Connection& first = log_in();
  deliver(first, scsi(write10(0, 16), 8192, true), {}, kWriteKey);
  first.closed();
  Connection& second = connect();
  iscsi::InitiatorLoginOptions options;
  options.initiator = kHost;
  options.target = kDisk;
  options.isid = {0x80, 0, 0, 0, 0, 1};
  iscsi::InitiatorLogin login(options);
  std::optional<iscsi::InitiatorLogin::Request> next = login.first();
  deliver(second, next->header, next->text);
  while (!link.out.empty()) {
    const auto answer = take();
    const auto response = iscsi::LoginResponse::decode(bhs(answer));
    ASSERT_TRUE(login.on_response(response, data(answer), next).ok());
    deliver(second, next->header, next->text);
  }
  link.dropped = false;
  deliver(second, next->header, next->text);
  EXPECT_TRUE(link.dropped);
  second.closed();
  for (Task* task : std::exchange(link.fetching, {})) first.fetched(*task, false);
  EXPECT_FALSE(second.full_feature());
  EXPECT_TRUE(link.out.empty());
}

TEST_F(ConnectionTest, AConnectionThatEndsTakesItsTasksAlong) {
  Connection& connection = log_in();
  link.chunks_free = false;
  deliver(connection, scsi({0x28, 0, 0, 0, 0, 0, 0, 0, 1}, 512), {}, kReadKey);
  EXPECT_FALSE(connection.idle());
  connection.closed();
  EXPECT_TRUE(connection.idle());
  EXPECT_TRUE(link.waiting.empty());
}

}  // namespace
}  // namespace mrpool::iser_target
