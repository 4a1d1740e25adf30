// Task management, a login that replaces the session, and a logout end the tasks of a hung store
// within a bound. What the store does with them afterwards affects no peer and no newer data.
#include "tests/unit/examples/iser/target/hung_store_fixture.h"

namespace mrpool::iser_target {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class LateAborts : public HungStoreTest {
 protected:
  // A write of a block of this, as immediate data; it hangs.
  uint32_t hanging_write(Connection& connection, uint8_t block, char value) {
    faults->add({.op = storage::Op::kWrite, .delay = kHangs, .times = 1});
    return write(connection, block, value);
  }
  uint32_t write(Connection& connection, uint8_t block, char value) {
    auto pdu = scsi(write10(block, 1), 512, true);
    pdu.data_length = 512;
    deliver(connection, pdu, std::string(512, value), kWriteKey);
    run_for(milliseconds(1));
    return pdu.task_tag;
  }
  // What lies in the block, by a READ.
  char read(Connection& connection, uint8_t block) {
    link.pushed.clear();
    deliver(connection, scsi({0x28, 0, 0, 0, 0, block, 0, 0, 1}, 512), {}, kReadKey);
    run_for(milliseconds(1));
    EXPECT_EQ(iscsi::ScsiResponse::decode(bhs(take())).status, 0);
    settle(connection);
    return link.pushed.empty() ? '?' : char(link.pushed[0]);
  }
  void abort(Connection& connection, uint32_t task_tag) {
    deliver(connection, iscsi::TaskRequest{.function = iscsi::TaskFunction::kAbortTask,
                                           .task_tag = 900,
                                           .referenced_tag = task_tag});
  }
  void expect_complete() {
    const auto answer = take();
    EXPECT_EQ(op(answer), iscsi::Op::kTaskResponse);
    EXPECT_EQ(iscsi::TaskResponse::decode(bhs(answer)).response, iscsi::TaskResponse::kComplete);
    EXPECT_TRUE(link.out.empty());
  }
  uint8_t status_of_next() {
    const auto answer = take();
    EXPECT_EQ(op(answer), iscsi::Op::kScsiResponse);
    return iscsi::ScsiResponse::decode(bhs(answer)).status;
  }
};

TEST_F(LateAborts, AbortTaskIsAnsweredAndNothingPassesTheWrite) {
  Connection& connection = log_in();
  const uint32_t receives = link.released;
  const uint32_t victim = hanging_write(connection, 3, 'a');
  abort(connection, victim);
  wait(seconds(1));
  EXPECT_TRUE(link.out.empty()) << "it may still be done in time";
  wait(engine::kAbortPatience);
  expect_complete();
  EXPECT_EQ(link.released, receives) << "the store still reads what the receive holds";

  // The tag is the initiator's again; other blocks go on, this one waits.
  tag = victim - 1;
  write(connection, 4, 'b');
  EXPECT_EQ(status_of_next(), 0);
  settle(connection);
  write(connection, 3, 'c');
  EXPECT_TRUE(link.out.empty());
  // One that waits there has not begun: its end takes no time.
  const uint32_t waiting = write(connection, 3, 'd');
  abort(connection, waiting);
  expect_complete();

  wait(kHangs);
  EXPECT_EQ(status_of_next(), 0);
  settle(connection);
  EXPECT_EQ(read(connection, 3), 'c');
  EXPECT_EQ(read(connection, 4), 'b');
  EXPECT_TRUE(connection.idle());
}

TEST_F(LateAborts, AReadReachesNoHostAfterwards) {
  Connection& connection = log_in();
  faults->add({.op = storage::Op::kRead, .delay = kHangs, .times = 1});
  auto pdu = scsi({0x28, 0, 0, 0, 0, 0, 0, 0, 1}, 512);
  deliver(connection, pdu, {}, kReadKey);
  abort(connection, pdu.task_tag);
  wait(engine::kAbortPatience + 2 * engine::kTick);
  expect_complete();
  wait(kHangs);
  EXPECT_TRUE(link.out.empty());
  EXPECT_TRUE(link.pushed.empty());
  EXPECT_TRUE(connection.idle());
}

// The task's own initiator receives TASK ABORTED, once; the one that resets receives the response.
TEST_F(LateAborts, AResetOfAnotherInitiator) {
  Connection& first = log_in({}, false, 1);
  Connection& second = log_in({}, false, 2);
  hanging_write(first, 0, 'a');
  cmd_sn = 2;  // the second's
  deliver(second,
          iscsi::TaskRequest{.function = iscsi::TaskFunction::kLogicalUnitReset, .task_tag = 900});
  wait(engine::kAbortPatience + 2 * engine::kTick);
  EXPECT_EQ(status_of_next(), uint8_t(scsi::Status::kTaskAborted));
  expect_complete();
  settle(first);
  EXPECT_FALSE(first.idle()) << "the store has its memory";
  EXPECT_EQ(attention(second, 0).asc, scsi::kDeviceReset.asc);
  write(second, 0, 'b');
  EXPECT_TRUE(link.out.empty());
  wait(kHangs);
  EXPECT_EQ(status_of_next(), 0);
  settle(second);
  EXPECT_TRUE(first.idle());
  EXPECT_EQ(read(second, 0), 'b');
}

// A COMPARE AND WRITE elsewhere gets through the gate; one at the block waits.
TEST_F(LateAborts, CompareAndWrite) {
  Connection& connection = log_in();
  abort(connection, hanging_write(connection, 0, 'a'));
  wait(engine::kAbortPatience + 2 * engine::kTick);
  expect_complete();
  write(connection, 0, 'b');  // waits, and not in the gate
  const auto compare_and_write = [&](uint8_t block) {
    auto pdu = scsi({0x89, 0, 0, 0, 0, 0, 0, 0, 0, block, 0, 0, 0, 1}, 1024, true);
    pdu.data_length = 1024;
    deliver(connection, pdu, std::string(512, '\0') + std::string(512, 'c'), kWriteKey);
    run_for(milliseconds(1));
  };
  compare_and_write(9);
  EXPECT_EQ(status_of_next(), 0);
  settle(connection);
  compare_and_write(0);
  EXPECT_TRUE(link.out.empty());
  wait(kHangs);
  EXPECT_EQ(link.out.size(), 2u);
  settle(connection);
}

// Each keeps its place in the window until the store answers.
TEST_F(LateAborts, KeepTheirPlacesInTheWindow) {
  Connection& connection = log_in();
  abort(connection, hanging_write(connection, 0, 'a'));
  wait(engine::kAbortPatience + 2 * engine::kTick);
  const auto window = [&](std::span<const std::byte> answer) {
    const auto at = iscsi::TaskResponse::decode(bhs(answer)).window;
    return at.max_cmd_sn - at.exp_cmd_sn + 1;
  };
  EXPECT_EQ(window(take()), kQueueDepth - 1);
  wait(kHangs);
  abort(connection, 12345);
  EXPECT_EQ(window(take()), kQueueDepth);
}

// A login in place of the session does not wait for the store.
TEST_F(LateAborts, ALoginInPlaceOfTheSession) {
  for (const bool lost_before : {false, true}) {
    SCOPED_TRACE(lost_before);
    Connection& first = log_in();
    hanging_write(first, 0, 'a');
    if (lost_before) first.closed();
    Connection& second = connect();
    iscsi::InitiatorLoginOptions options;
    options.initiator = kHost;
    options.target = kDisk;
    options.isid = {0x80, 0, 0, 0, 0, 1};
    iscsi::InitiatorLogin login(options);
    auto request = login.first();
    deliver(second, request.header, request.text);
    while (!link.out.empty()) {
      std::optional<iscsi::InitiatorLogin::Request> next;
      const auto answer = take();
      EXPECT_TRUE(
          login.on_response(iscsi::LoginResponse::decode(bhs(answer)), data(answer), next).ok());
      if (next) deliver(second, next->header, next->text);
    }
    first.closed();
    EXPECT_FALSE(second.full_feature());
    wait(engine::kAbortPatience + 2 * engine::kTick);
    EXPECT_TRUE(second.full_feature());
    link.out.clear();
    link.dropped = false;
    wait(kHangs);
    EXPECT_TRUE(first.idle());
    second.closed();
  }
}

}  // namespace
}  // namespace mrpool::iser_target
