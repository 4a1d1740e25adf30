// An Abort, a reset and the end of the connection end the commands of a hung store within a bound.
// What the store does with them afterwards affects no host, no reused buffer and no newer data.
#include "tests/unit/examples/nvmf/target/raw_host.h"

namespace mrpool::nvmf_target::testing {
namespace {

constexpr Nanoseconds kHangs = seconds(600);
constexpr Nanoseconds kBound = engine::kAbortPatience + 2 * engine::kTick;

class LateAborts : public ::testing::Test {
 protected:
  LateAborts() {
    world_.serve({"ram:1MiB", "ram:2MiB"}, true);
    host_ = std::make_unique<Host>(world_);
  }
  void hang(storage::Op op, uint32_t times = 1) {
    world_.faults->add({.op = op, .delay = kHangs, .times = times});
    hung_since_ = world_.reactor.now();
  }
  void end_of_hang() { world_.run_for(hung_since_ + kHangs + seconds(1) - world_.reactor.now()); }
  // Its result: 0, aborted; 1, not.
  uint64_t abort(uint16_t command_id) {
    const Nanoseconds began = world_.reactor.now();
    const nvme::Cqe cqe = host_->admin.execute(
        host_->admin.admin(AdminOpcode::kAbort, 1 | uint32_t(command_id) << 16));
    EXPECT_STATUS(cqe.status(), Status::kSuccess);
    EXPECT_LE(world_.reactor.now() - began, kBound);
    return uint64_t(cqe.result);
  }
  nvme::Sqe in_capsule(uint64_t block) {
    nvme::Sqe sqe = host_->io.io(IoOpcode::kWrite, block, 1);
    sqe.sgl = SglDescriptor::in_capsule(0, 4096);
    return sqe;
  }
  bool answered(const nvme::Sqe& sqe) const { return host_->io.answers.contains(sqe.command_id); }
  void expect_block(RawQueue& io, uint64_t block, int value) {
    constexpr uint64_t kAt = 2 << 20;
    EXPECT_STATUS(io.execute(io.io(IoOpcode::kRead, block, 1, kAt)).status(), Status::kSuccess);
    EXPECT_TRUE(io.holds(kAt, 4096, value)) << "block " << block;
  }
  World world_;
  std::unique_ptr<Host> host_;
  Nanoseconds hung_since_{};
};

TEST_F(LateAborts, AWriteEndsAndNothingPassesIt) {
  RawQueue& io = host_->io;
  hang(storage::Op::kWrite);
  io.fill(0, 4096, 1);
  const nvme::Sqe victim = io.io(IoOpcode::kWrite, 3, 1);
  io.submit(victim);
  world_.run_for(milliseconds(1));
  EXPECT_EQ(abort(victim.command_id), 0u);
  EXPECT_STATUS(io.wait(victim.command_id).status(), Status::kAbortRequested);

  // Commands for other blocks and other namespaces continue; commands for its block wait.
  io.fill(8192, 4096, 2);
  EXPECT_STATUS(io.execute(io.io(IoOpcode::kWrite, 4, 1, 8192)).status(), Status::kSuccess);
  EXPECT_STATUS(io.execute(io.io(IoOpcode::kWrite, 3, 1, 8192, 2)).status(), Status::kSuccess);
  const nvme::Sqe newer = io.io(IoOpcode::kWrite, 2, 2, 8192);
  const nvme::Sqe read = io.io(IoOpcode::kRead, 3, 1, 16384);
  const nvme::Sqe zeroes = io.io(IoOpcode::kWriteZeroes, 3, 1);
  io.fill(8192, 8192, 3);
  for (const nvme::Sqe& sqe : {newer, read, zeroes}) io.submit(sqe);
  world_.run_for(seconds(5));
  EXPECT_FALSE(answered(newer) || answered(read) || answered(zeroes));
  // One that waits there has not begun: its Abort takes no time.
  EXPECT_EQ(abort(zeroes.command_id), 0u);
  EXPECT_STATUS(io.wait(zeroes.command_id).status(), Status::kAbortRequested);

  end_of_hang();
  EXPECT_STATUS(io.wait(newer.command_id).status(), Status::kSuccess);
  EXPECT_STATUS(io.wait(read.command_id).status(), Status::kSuccess);
  EXPECT_FALSE(answered(victim)) << "answered twice";
  expect_block(io, 3, 3);
}

TEST_F(LateAborts, ACommandThatEndsInTimeIsNotAborted) {
  world_.faults->add({.op = storage::Op::kWrite, .delay = seconds(1), .times = 1});
  const nvme::Sqe victim = host_->io.io(IoOpcode::kWrite, 0, 1);
  host_->io.submit(victim);
  world_.run_for(milliseconds(1));
  EXPECT_EQ(abort(victim.command_id), 1u);
  EXPECT_STATUS(host_->io.wait(victim.command_id).status(), Status::kSuccess);
}

TEST_F(LateAborts, AReadReachesNoHostAfterwards) {
  RawQueue& io = host_->io;
  hang(storage::Op::kRead);
  io.fill(0, 4096, 7);
  const nvme::Sqe victim = io.io(IoOpcode::kRead, 0, 1);
  io.submit(victim);
  world_.run_for(milliseconds(1));
  EXPECT_EQ(abort(victim.command_id), 0u);
  EXPECT_STATUS(io.wait(victim.command_id).status(), Status::kAbortRequested);
  expect_block(io, 0, 0);  // a read changes nothing, so others need not wait
  end_of_hang();
  EXPECT_TRUE(io.holds(0, 4096, 7)) << "data came after the answer";
}

// The data lies in the capsule's receive, which the store still reads: it is not overwritten, and
// the host has all entries of its queue all the same.
TEST_F(LateAborts, DataInTheCapsuleStaysWhereItIs) {
  RawQueue& io = host_->io;
  constexpr uint32_t kEntries = 32;
  const std::vector<std::byte> old(4096, std::byte{1});
  const std::vector<std::byte> newer(4096, std::byte{2});
  hang(storage::Op::kWrite);
  const nvme::Sqe victim = in_capsule(0);
  io.submit(victim, old);
  world_.run_for(milliseconds(1));
  EXPECT_EQ(abort(victim.command_id), 0u);
  EXPECT_STATUS(io.wait(victim.command_id).status(), Status::kAbortRequested);
  for (int round = 0; round < 3; ++round) {
    std::vector<nvme::Sqe> all;
    for (uint32_t i = 1; i < kEntries; ++i) all.push_back(in_capsule(i));
    for (const nvme::Sqe& sqe : all) io.submit(sqe, newer);
    for (const nvme::Sqe& sqe : all) {
      EXPECT_STATUS(io.wait(sqe.command_id).status(), Status::kSuccess);
    }
  }
  end_of_hang();
  expect_block(io, 0, 1);
  expect_block(io, 31, 2);
}

// The limit of a queue; then Aborts report that they aborted nothing, which is true.
TEST_F(LateAborts, AreBounded) {
  RawQueue& io = host_->io;
  hang(storage::Op::kWrite, 1000);
  const std::vector<std::byte> data(4096, std::byte{1});
  uint32_t aborted = 0;
  for (uint64_t block = 0;; ++block) {
    const nvme::Sqe victim = in_capsule(block);
    io.submit(victim, data);
    world_.run_for(milliseconds(1));
    if (abort(victim.command_id) != 0) break;
    EXPECT_STATUS(io.wait(victim.command_id).status(), Status::kAbortRequested);
    if (++aborted > most_late(32)) break;
  }
  EXPECT_EQ(aborted, most_late(32));
  EXPECT_FALSE(io.down);
  world_.run_for(2 * kHangs);
  expect_block(io, 0, 1);
}

TEST_F(LateAborts, OtherCommands) {
  RawQueue& io = host_->io;
  hang(storage::Op::kFlush);
  hang(storage::Op::kWriteZeroes);
  nvme::Sqe flush = io.io(IoOpcode::kFlush, 0, 1);
  flush.sgl = {};
  nvme::Sqe zeroes = io.io(IoOpcode::kWriteZeroes, 0, 1);
  zeroes.sgl = {};
  for (const nvme::Sqe& victim : {flush, zeroes}) {
    io.submit(victim);
    world_.run_for(milliseconds(1));
    EXPECT_EQ(abort(victim.command_id), 0u);
    EXPECT_STATUS(io.wait(victim.command_id).status(), Status::kAbortRequested);
  }
  io.fill(0, 4096, 5);
  const nvme::Sqe write = io.io(IoOpcode::kWrite, 0, 1);
  io.submit(write);
  end_of_hang();
  EXPECT_STATUS(io.wait(write.command_id).status(), Status::kSuccess);
  expect_block(io, 0, 5);
}

// The host disconnects and reconnects while the store still hangs: within the bound, and late
// requests never overwrite newer data.
TEST_F(LateAborts, ANewAssociationDoesNotWaitForTheStore) {
  hang(storage::Op::kWrite);
  host_->io.fill(0, 4096, 1);
  host_->io.submit(host_->io.io(IoOpcode::kWrite, 0, 1));
  world_.run_for(milliseconds(1));
  host_->io.qp->abort();
  host_->admin.qp->abort();
  world_.run_for(milliseconds(1));
  const Nanoseconds began = world_.reactor.now();
  Host again(world_);
  EXPECT_LE(world_.reactor.now() - began, kBound);
  expect_block(again.io, 9, 0);
  again.io.fill(0, 4096, 2);
  const nvme::Sqe newer = again.io.io(IoOpcode::kWrite, 0, 1);
  again.io.submit(newer);
  end_of_hang();
  EXPECT_STATUS(again.io.wait(newer.command_id).status(), Status::kSuccess);
  expect_block(again.io, 0, 2);
}

}  // namespace
}  // namespace mrpool::nvmf_target::testing
