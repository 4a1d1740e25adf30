#include "examples/nvmf/host/queue.h"

#include "tests/unit/examples/nvmf/host/queue_fixture.h"

namespace mrpool::nvme::host {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST_F(QueueTest, ConnectNamesHostAndSubsystem) {
  make();
  begin_open();
  const auto hello = read_struct<RdmaRequest>(qp().hello);
  EXPECT_EQ(hello.queue_id, 1);
  EXPECT_EQ(hello.host_send_size0, 4);
  EXPECT_EQ(hello.host_receive_size, 5);
  qp().accept();
  const auto connect = read_struct<ConnectCommand>(bytes_of(last().sqe));
  EXPECT_EQ(connect.opcode, kFabricsOpcode);
  EXPECT_EQ(connect.type, FabricsType::kConnect);
  EXPECT_EQ(connect.sq_size0, 4);
  EXPECT_EQ(connect.sgl.keyed_length(), 1024u);
  ASSERT_EQ(qp().registrations.size(), 1u);
  EXPECT_EQ(qp().registrations[0].access, Access::kRemoteRead);
  const auto& data =
      *reinterpret_cast<const ConnectData*>(uintptr_t(uint64_t(connect.sgl.address)));
  EXPECT_EQ(field_string(data.subsysnqn), "nqn.2026-11.org.example:disk");
  EXPECT_EQ(field_string(data.hostnqn), "nqn.2026-11.org.example:host");
  EXPECT_EQ(le(uint16_t(data.cntlid)), 7);
  qp().end();
  reactor_.poll();
  ASSERT_TRUE(opened_.has_value());
  EXPECT_TRUE(absl::IsUnavailable(*opened_));
}

TEST_F(QueueTest, RefusalsSayWhatToDo) {
  make();
  begin_open();
  qp().reject(RdmaStatus::kNoResources);
  EXPECT_TRUE(absl::IsUnavailable(*opened_));
  EXPECT_THAT(std::string(opened_->message()), HasSubstr("rejected"));

  const auto refuse = [this](Status status, uint64_t result) {
    begin_open();
    qp().accept();
    qp().complete_sends();
    qp().answer(qp().commands[0], result, with_dnr(status));
    EXPECT_TRUE(qp().ending());
    qp().end(DisconnectReason::kLocal);
    return *opened_;
  };
  const absl::Status host = refuse(Status::kConnectInvalidHost, 0);
  EXPECT_TRUE(absl::IsPermissionDenied(host));
  EXPECT_THAT(std::string(host.message()), HasSubstr("nqn.2026-11.org.example:host"));
  const absl::Status name =
      refuse(Status::kConnectInvalidParameters,
             connect_invalid_parameter(true, offsetof(ConnectData, subsysnqn)));
  EXPECT_TRUE(absl::IsNotFound(name)) << name;
  EXPECT_THAT(std::string(name.message()), HasSubstr("nqn.2026-11.org.example:disk"));
}

TEST_F(QueueTest, KeysGiveExactlyTheRightTheCommandNeeds) {
  make();
  open();
  TestRequest read(IoOpcode::kRead, bytes(4096));
  queue_->submit(read);
  EXPECT_EQ(qp().registrations.back().access, Access::kLocalWrite | Access::kRemoteWrite);
  EXPECT_EQ(qp().registrations.back().mr->length(), 4096u);
  EXPECT_EQ(last().sqe.sgl.identifier, 0x4f);
  EXPECT_EQ(last().sqe.sgl.keyed_length(), 4096u);
  TestRequest write(IoOpcode::kWrite, bytes(512));
  queue_->submit(write);
  EXPECT_EQ(qp().registrations.back().access, Access::kRemoteRead);
  EXPECT_EQ(qp().registrations.back().mr->length(), 512u);
  TestRequest flush(IoOpcode::kFlush);
  queue_->submit(flush);
  EXPECT_EQ(qp().registrations.size(), 3u);  // Connect's, and these two
  EXPECT_EQ(last().sqe.sgl.keyed_length(), 0u);
  qp().end();
  reactor_.poll();
}

TEST_F(QueueTest, SmallWritesTravelInTheCapsule) {
  make();
  queue_->set_in_capsule_bytes(4096);
  open();
  data_->bytes()[0] = std::byte{0x5a};
  TestRequest write(IoOpcode::kWrite, bytes(4096));
  queue_->submit(write);
  EXPECT_EQ(last().sqe.sgl.identifier, 0x01);
  ASSERT_EQ(last().in_capsule.size(), 4096u);
  EXPECT_EQ(last().in_capsule[0], std::byte{0x5a});
  TestRequest large(IoOpcode::kWrite, bytes(8192));
  queue_->submit(large);
  EXPECT_EQ(last().sqe.sgl.identifier, 0x4f);
  TestRequest read(IoOpcode::kRead, bytes(512));
  queue_->submit(read);
  EXPECT_EQ(last().sqe.sgl.identifier, 0x4f);
  EXPECT_EQ(queue_->counters().in_capsule, 1u);
  qp().end();
  reactor_.poll();
}

TEST_F(QueueTest, DoneWaitsForResponseAndSend) {
  make();
  open();
  TestRequest first(IoOpcode::kRead, bytes(512));
  queue_->submit(first);
  qp().answer(last());
  EXPECT_EQ(first.times, 0);  // the capsule may still be needed
  qp().complete_sends();
  EXPECT_EQ(first.times, 1);
  TestRequest second(IoOpcode::kRead, bytes(512));
  queue_->submit(second);
  qp().complete_sends();
  EXPECT_EQ(second.times, 0);
  qp().answer(last(), 0, with_dnr(Status::kLbaOutOfRange));
  EXPECT_EQ(second.times, 1);
  EXPECT_EQ(code(second.outcome->status), Status::kLbaOutOfRange);
  EXPECT_EQ(pool_->stats().in_use, 0u);
  EXPECT_EQ(queue_->counters().remote_invalidations, 3u);
}

TEST_F(QueueTest, AKeyTheControllerLeftAliveIsInvalidatedHereFirst) {
  make();
  open();
  TestRequest read(IoOpcode::kRead, bytes(512));
  queue_->submit(read);
  qp().complete_sends();
  Cqe cqe;
  cqe.command_id = uint16_t(last().sqe.command_id);
  const Rkey key = last().sqe.sgl.key();
  qp().respond(cqe);
  EXPECT_EQ(read.times, 0);  // the peer could still write the buffer
  EXPECT_THAT(qp().local_invalidations, ElementsAre(key));
  qp().complete_sends();
  EXPECT_EQ(read.times, 1);
  EXPECT_EQ(queue_->counters().local_invalidations, 1u);
}

TEST_F(QueueTest, RulesOfInvalidationAreChecked) {
  make();
  open();
  TestRequest read(IoOpcode::kRead, bytes(512));
  queue_->submit(read);
  qp().complete_sends();
  Cqe cqe;
  cqe.command_id = uint16_t(last().sqe.command_id);
  qp().respond(cqe, Rkey{last().sqe.sgl.key().value ^ 0x100});
  EXPECT_TRUE(qp().aborted);
  EXPECT_EQ(read.times, 0);
  // What follows on a broken connection counts for nothing.
  qp().answer(last());
  EXPECT_EQ(read.times, 0);
  qp().end();
  reactor_.poll();
  EXPECT_EQ(read.times, 1);
  EXPECT_EQ(read.outcome->status, kHostPathing);
  ASSERT_EQ(lost_.size(), 1u);
  EXPECT_THAT(lost_[0], HasSubstr("instead of"));
}

TEST_F(QueueTest, AResponseToNothingEndsTheConnection) {
  make();
  open();
  TestRequest read(IoOpcode::kRead, bytes(512));
  queue_->submit(read);
  qp().complete_sends();
  const ScriptedQp::Command command = last();
  qp().answer(command);
  EXPECT_EQ(read.times, 1);
  qp().answer(command);  // a second time
  EXPECT_TRUE(qp().aborted);
  qp().end();
  EXPECT_EQ(read.times, 1);
}

TEST_F(QueueTest, AResponseOfAWrongSizeEndsTheConnection) {
  make();
  open();
  TestRequest read(IoOpcode::kRead, bytes(512));
  queue_->submit(read);
  Cqe cqe;
  cqe.command_id = uint16_t(last().sqe.command_id);
  qp().respond(cqe, std::nullopt, 12);
  EXPECT_TRUE(qp().aborted);
  qp().end();
  reactor_.poll();
}

TEST_F(QueueTest, DepthIsKeptAndOrderToo) {
  make(false, 2);
  open();
  TestRequest requests[5];
  for (auto& request : requests) queue_->submit(request);
  EXPECT_EQ(qp().commands.size(), 1u + 2u);
  for (size_t i = 0; i < 5; ++i) {
    qp().complete_sends();
    qp().answer(qp().commands[1 + i]);
    EXPECT_EQ(requests[i].times, 1) << i;
  }
  EXPECT_EQ(queue_->outstanding(), 0u);
  EXPECT_EQ(qp().receives(), 2u);
}

TEST_F(QueueTest, WithoutAnMrACommandWaitsInsteadOfFailing) {
  make(false, 4, 1);
  open();
  TestRequest first(IoOpcode::kRead, bytes(512));
  TestRequest second(IoOpcode::kRead, bytes(512));
  queue_->submit(first);
  queue_->submit(second);
  EXPECT_EQ(qp().commands.size(), 2u);
  qp().complete_sends();
  qp().answer(last());
  reactor_.poll();
  ASSERT_EQ(qp().commands.size(), 3u);
  qp().complete_sends();
  qp().answer(last());
  EXPECT_EQ(first.times + second.times, 2);
}

// Compare and Write: next to each other, and one key, which only the second answer ends.
TEST_F(QueueTest, FusedCommandsShareAKey) {
  make(false, 4, 1);
  open();
  TestRequest compare(IoOpcode::kCompare, data_->sge(0, 512));
  TestRequest write(IoOpcode::kWrite, data_->sge(512, 512));
  queue_->submit_fused(compare, write);
  ASSERT_EQ(qp().commands.size(), 3u);
  ASSERT_EQ(qp().registrations.size(), 2u);
  EXPECT_EQ(qp().registrations[1].access, Access::kRemoteRead);
  EXPECT_EQ(qp().registrations[1].mr->length(), 1024u);
  const Sqe first = qp().commands[1].sqe, second = qp().commands[2].sqe;
  EXPECT_EQ(first.fuse(), Fuse::kFirst);
  EXPECT_EQ(second.fuse(), Fuse::kSecond);
  EXPECT_EQ(first.opcode, uint8_t(IoOpcode::kCompare));
  EXPECT_EQ(first.sgl.identifier, 0x40);
  EXPECT_EQ(second.sgl.identifier, 0x4f);
  EXPECT_EQ(first.sgl.key(), second.sgl.key());
  EXPECT_EQ(uint64_t(second.sgl.address), uint64_t(first.sgl.address) + 512);
  qp().complete_sends();
  // Neither is submitted again.
  qp().answer(qp().commands[1], 0, Status::kCompareFailure);
  qp().answer(qp().commands[2], 0, Status::kFailedFused);
  reactor_.advance(std::chrono::seconds(10));
  EXPECT_EQ(compare.times + write.times, 2);
  EXPECT_EQ(compare.outcome->status, Status::kCompareFailure);
  EXPECT_EQ(write.outcome->status, Status::kFailedFused);
  EXPECT_EQ(qp().commands.size(), 3u);
  EXPECT_EQ(pool_->stats().in_use, 0u);
}

TEST_F(QueueTest, FusedCommandsWaitForTwoPlaces) {
  make(false, 2);
  open();
  TestRequest before(IoOpcode::kRead, bytes(512)), after(IoOpcode::kFlush);
  TestRequest compare(IoOpcode::kCompare, data_->sge(0, 512));
  TestRequest write(IoOpcode::kWrite, data_->sge(512, 512));
  queue_->submit(before);
  queue_->submit_fused(compare, write);
  queue_->submit(after);
  EXPECT_EQ(qp().commands.size(), 2u);
  qp().complete_sends();
  qp().answer(qp().commands[1]);
  ASSERT_EQ(qp().commands.size(), 4u);
  EXPECT_EQ(qp().commands[2].sqe.fuse(), Fuse::kFirst);
  EXPECT_EQ(qp().commands[3].sqe.fuse(), Fuse::kSecond);
  qp().complete_sends();
  qp().answer(qp().commands[2]);
  EXPECT_EQ(compare.times, 1);
  qp().answer(qp().commands[3]);
  EXPECT_EQ(write.times, 1);
  ASSERT_EQ(qp().commands.size(), 5u);
  qp().complete_sends();
  qp().answer(qp().commands[4]);
  EXPECT_EQ(after.times, 1);
}

// The controller may have carried it out: no other connection repeats it. What was not sent waits.
TEST_F(QueueTest, ALostConnectionEndsFusedCommands) {
  make(true, 2);
  open();
  TestRequest compare(IoOpcode::kCompare, data_->sge(0, 512));
  TestRequest write(IoOpcode::kWrite, data_->sge(512, 512));
  TestRequest next(IoOpcode::kCompare, data_->sge(0, 512));
  TestRequest next_write(IoOpcode::kWrite, data_->sge(512, 512));
  queue_->submit_fused(compare, write);
  queue_->submit_fused(next, next_write);
  qp().complete_sends();
  qp().end();
  reactor_.poll();
  for (const TestRequest* each : {&compare, &write}) {
    ASSERT_EQ(each->times, 1);
    EXPECT_EQ(each->outcome->status, kHostPathing);
  }
  EXPECT_EQ(next.times + next_write.times, 0);
  queue_->give_up();
  reactor_.poll();
  EXPECT_EQ(next.times + next_write.times, 2);
  EXPECT_EQ(next_write.outcome->status, kHostPathing);
}

TEST_F(QueueTest, FusedCommandsNeedADepthOfTwo) {
  make(false, 1);
  open();
  TestRequest compare(IoOpcode::kCompare, data_->sge(0, 512));
  TestRequest write(IoOpcode::kWrite, data_->sge(512, 512));
  queue_->submit_fused(compare, write);
  reactor_.poll();
  EXPECT_EQ(compare.times + write.times, 2);
  EXPECT_EQ(code(write.outcome->status), Status::kMissingFused);
}

// The Connect needs an MR too; it gets the next one, and commands that are submitted meanwhile wait
// after it.
TEST_F(QueueTest, ConnectIsTheFirstToGetAnMr) {
  make(true, 4, 1);
  MrPool::Lease elsewhere = pool_->get();
  TestRequest early(IoOpcode::kRead, bytes(512));
  queue_->submit(early);
  begin_open();
  qp().accept();
  EXPECT_TRUE(qp().commands.empty());
  elsewhere.reset();
  reactor_.poll();
  ASSERT_EQ(qp().commands.size(), 1u);
  EXPECT_EQ(last().sqe.opcode, kFabricsOpcode);
  qp().complete_sends();
  qp().answer(qp().commands[0], 7);
  reactor_.poll();
  ASSERT_EQ(qp().commands.size(), 2u);
  qp().complete_sends();
  qp().answer(qp().commands[1]);
  EXPECT_EQ(early.times, 1);
  ASSERT_TRUE(opened_.has_value());
}

}  // namespace
}  // namespace mrpool::nvme::host
