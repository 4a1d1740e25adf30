// What ends tasks and sessions: task management, logout, a login in place of another, a connection
// that breaks.

#include "tests/unit/examples/iser/target/connection_fixture.h"

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

TEST_F(ConnectionTest, AnAbortThatComesTooLateIsAnsweredAfterTheCommand) {
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

TEST_F(ConnectionTest, AbortOfAMissingTask) {
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
  EXPECT_EQ(iscsi::ScsiResponse::decode(bhs(take())).status, uint8_t(scsi::Status::kTaskAborted));
  EXPECT_EQ(iscsi::TaskResponse::decode(bhs(take())).response, iscsi::TaskResponse::kComplete);
  EXPECT_TRUE(link.out.empty());
  settle(second);
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

class HeldLogin : public ConnectionTest {
 protected:
  // Logs in as far as the target answers, and returns the request that it does not answer yet.
  iscsi::InitiatorLogin::Request log_in_until_held(Connection& connection) {
    iscsi::InitiatorLoginOptions options;
    options.initiator = kHost;
    options.target = kDisk;
    options.isid = {0x80, 0, 0, 0, 0, 1};
    iscsi::InitiatorLogin login(options);
    iscsi::InitiatorLogin::Request request = login.first();
    deliver(connection, request.header, request.text);
    while (!link.out.empty()) {
      const auto answer = take();
      std::optional<iscsi::InitiatorLogin::Request> next;
      const auto response = iscsi::LoginResponse::decode(bhs(answer));
      EXPECT_TRUE(login.on_response(response, data(answer), next).ok());
      EXPECT_TRUE(next) << "the login was answered";
      if (!next) break;
      request = *next;
      deliver(connection, request.header, request.text);
    }
    return request;
  }
};

// A task of the session that is replaced may still write: the new login is answered after it.
TEST_F(HeldLogin, WaitsForTheTasksOfTheSessionItReplaces) {
  for (const bool lost_before : {false, true}) {
    SCOPED_TRACE(lost_before);
    Connection& first = log_in();
    deliver(first, scsi(write10(0, 16), 8192, true), {}, kWriteKey);
    ASSERT_EQ(link.fetching.size(), 1u);
    if (lost_before) first.closed();
    link.dropped = false;
    Connection& second = connect();
    log_in_until_held(second);
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
TEST_F(HeldLogin, EndsWithItsConnection) {
  Connection& first = log_in();
  deliver(first, scsi(write10(0, 16), 8192, true), {}, kWriteKey);
  first.closed();
  Connection& second = connect();
  const iscsi::InitiatorLogin::Request held = log_in_until_held(second);
  link.dropped = false;
  deliver(second, held.header, held.text);
  EXPECT_TRUE(link.dropped);
  second.closed();
  for (Task* task : std::exchange(link.fetching, {})) first.fetched(*task, false);
  EXPECT_FALSE(second.full_feature());
  EXPECT_TRUE(link.out.empty());
}

// RFC 7143 §11.6.1: an initiator that gives up a command before it was sent fills the gap its CmdSN
// leaves by aborting it.
TEST_F(ConnectionTest, AnAbortOfACommandThatNeverCameFillsItsPlaceInCmdSn) {
  Connection& connection = log_in();
  const auto abort = [&](uint32_t ref_cmd_sn, uint32_t task_tag) {
    deliver(connection, iscsi::TaskRequest{.function = iscsi::TaskFunction::kAbortTask,
                                           .task_tag = task_tag,
                                           .referenced_tag = 12345,
                                           .cmd_sn = cmd_sn + 3,
                                           .ref_cmd_sn = ref_cmd_sn});
    return iscsi::TaskResponse::decode(bhs(take()));
  };
  // Given up in any order.
  EXPECT_EQ(abort(cmd_sn + 1, 900).response, iscsi::TaskResponse::kComplete);
  EXPECT_EQ(abort(cmd_sn + 2, 901).response, iscsi::TaskResponse::kComplete);
  const auto last = abort(cmd_sn, 902);
  EXPECT_EQ(last.response, iscsi::TaskResponse::kComplete);
  EXPECT_EQ(last.window.exp_cmd_sn, cmd_sn + 3);
  // One that was received, or is yet to come, is no such thing.
  EXPECT_EQ(abort(cmd_sn - 1, 903).response, iscsi::TaskResponse::kNoTask);
  EXPECT_EQ(abort(cmd_sn + 3, 904).response, iscsi::TaskResponse::kNoTask);
  cmd_sn += 3;
  EXPECT_EQ(command(connection, scsi::Cdb{}).status, 0);
  EXPECT_FALSE(link.dropped);
}

// SAM-5 §5.3.1: a task that somebody else ended is answered TASK ABORTED, so that its initiator
// need not find out by waiting. That answer stands for an attention, and the own tasks have none.
TEST_F(ConnectionTest, TasksThatAnotherInitiatorEndsAreAnswered) {
  Connection& first = log_in({}, false, /*port=*/1);
  Connection& second = log_in({}, false, /*port=*/2);
  link.chunks_free = false;
  const auto waiting = scsi({0x28, 0, 0, 0, 0, 0, 0, 0, 1}, 512);
  deliver(second, waiting, {}, kReadKey);
  link.chunks_free = true;
  const auto fetching = scsi(write10(0, 1), 512, true);
  deliver(second, fetching, {}, kWriteKey);
  cmd_sn = 2;
  deliver(first, scsi(write10(0, 1), 512, true), {}, kWriteKey);
  ASSERT_EQ(link.fetching.size(), 2u);
  deliver(first,
          iscsi::TaskRequest{.function = iscsi::TaskFunction::kClearTaskSet, .task_tag = 900});
  const auto expect_aborted = [&](uint32_t tag) {
    const auto answer = iscsi::ScsiResponse::decode(bhs(take()));
    EXPECT_EQ(answer.task_tag, tag);
    EXPECT_EQ(answer.status, uint8_t(scsi::Status::kTaskAborted));
    EXPECT_EQ(answer.residual_count, 512u);
  };
  expect_aborted(waiting.task_tag);
  EXPECT_TRUE(link.out.empty());
  Task* const own = link.fetching[1];
  second.fetched(*link.fetching[0], true);
  expect_aborted(fetching.task_tag);
  EXPECT_TRUE(link.out.empty());
  first.fetched(*own, true);
  EXPECT_EQ(op(take()), iscsi::Op::kTaskResponse);
  EXPECT_TRUE(link.out.empty());
  settle(second);
  EXPECT_TRUE(first.idle());
  EXPECT_TRUE(second.idle());
  cmd_sn = 4;
  EXPECT_EQ(attention(second, 0), scsi::kNoSense);
  cmd_sn = 3;
  EXPECT_EQ(attention(first, 0), scsi::kNoSense);
}

// An initiator that fences another by PREEMPT AND ABORT writes next: no write of the other may
// execute after the answer.
TEST_F(ConnectionTest, PreemptAndAbortAnswersWhenTheTasksHaveEnded) {
  for (const bool gone : {false, true}) {
    SCOPED_TRACE(gone);
    Connection& victim = log_in({}, false, /*port=*/2);
    reserve_out(victim, /*action=*/6, 0, 0xb);
    reserve_out(victim, /*action=*/1, 0xb, 0, /*type=*/1);
    uint32_t other_sn = cmd_sn;
    Connection& fencer = log_in({}, false, /*port=*/1);
    reserve_out(fencer, /*action=*/6, 0, 0xa);
    std::swap(cmd_sn, other_sn);
    deliver(victim, scsi(write10(0, 1), 512, true), {}, kWriteKey);
    ASSERT_EQ(link.fetching.size(), 1u);
    Task* const write = link.fetching.front();
    link.fetching.clear();
    if (gone) victim.closed();
    std::swap(cmd_sn, other_sn);
    send_reserve_out(fencer, /*action=*/5, 0xa, 0xb, /*type=*/1);
    EXPECT_TRUE(link.out.empty());
    victim.fetched(*write, !gone);
    if (!gone) {
      EXPECT_EQ(iscsi::ScsiResponse::decode(bhs(take())).status,
                uint8_t(scsi::Status::kTaskAborted));
    }
    EXPECT_EQ(iscsi::ScsiResponse::decode(bhs(take())).status, 0);
    settle(fencer);
    reserve_out(fencer, /*action=*/3, 0xa, 0);
    link.dropped = false;
    victim.closed();
    fencer.closed();
  }
}

TEST_F(ConnectionTest, AConnectionThatEndsEndsItsTasks) {
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
