// Format NVM through a whole target: what is gone and what stays, who is notified, and other
// commands meanwhile. Write protection and reservations have their own tests.
#include "tests/unit/examples/nvmf/target/raw_host.h"

namespace mrpool::nvmf_target::testing {
namespace {

constexpr uint32_t kBlock = 4096;
constexpr uint64_t kBack = 1 << 20;
constexpr Nanoseconds kHangs = seconds(600);

class Format : public ::testing::Test {
 protected:
  Format() {
    world_.serve({"ram:4MiB", "ram:1MiB", "ram:1MiB"}, true);
    alice_ = std::make_unique<Host>(world_);
    bob_ = std::make_unique<Host>(world_, 32, "nqn.2024-01.org.example:bob", 9);
    for (const uint32_t nsid : {1u, 2u, 3u}) write(nsid, 7);
  }
  void write(uint32_t nsid, int value) {
    bob_->io.fill(0, kBlock, value);
    EXPECT_STATUS(bob_->io.execute(bob_->io.io(IoOpcode::kWrite, 200, 1, 0, nsid)).status(),
                  Status::kSuccess);
  }
  void expect_content(uint32_t nsid, int value) {
    RawQueue& io = bob_->io;
    EXPECT_STATUS(io.execute(io.io(IoOpcode::kRead, 200, 1, kBack, nsid)).status(),
                  Status::kSuccess);
    EXPECT_TRUE(io.holds(kBack, kBlock, value)) << "namespace " << nsid;
  }
  nvme::Sqe command(uint32_t nsid, uint32_t cdw10 = 0) {
    nvme::Sqe sqe = alice_->admin.admin(AdminOpcode::kFormat, cdw10);
    sqe.nsid = nsid;
    return sqe;
  }
  Status format(uint32_t nsid, uint32_t cdw10 = 0) {
    return alice_->admin.execute(command(nsid, cdw10)).status();
  }
  void hang(uint32_t times = 1) {
    world_.faults->add({.op = storage::Op::kWriteZeroes, .delay = kHangs, .times = times});
  }

  World world_;
  std::unique_ptr<Host> alice_, bob_;
};

TEST_F(Format, OneAndAll) {
  EXPECT_STATUS(format(2), Status::kSuccess);
  expect_content(1, 7);
  expect_content(2, 0);
  expect_content(3, 7);
  EXPECT_STATUS(format(3, 1 << 9), Status::kSuccess);
  expect_content(3, 0);
  write(3, 8);
  EXPECT_STATUS(format(nvme::kBroadcastNsid), Status::kSuccess);
  for (const uint32_t nsid : {1u, 2u, 3u}) expect_content(nsid, 0);
  for (const uint32_t nsid : {0u, 4u, 5000u}) {
    EXPECT_STATUS(format(nsid), dnr(Status::kInvalidNamespace));
  }
}

TEST_F(Format, OtherHostsAreNotified) {
  for (Host* host : {alice_.get(), bob_.get()}) {
    EXPECT_STATUS(host->admin
                      .execute(host->admin.admin(AdminOpcode::kSetFeatures,
                                                 NVME_FEAT_FID_ASYNC_EVENT, kEventNamespace))
                      .status(),
                  Status::kSuccess);
  }
  const nvme::Sqe mine = alice_->admin.admin(AdminOpcode::kAsyncEventRequest);
  const nvme::Sqe other = bob_->admin.admin(AdminOpcode::kAsyncEventRequest);
  alice_->admin.submit(mine);
  bob_->admin.submit(other);
  EXPECT_STATUS(format(2), Status::kSuccess);
  EXPECT_EQ(uint64_t(bob_->admin.wait(other.command_id).result) >> 16, 4u);
  EXPECT_FALSE(alice_->admin.answers.contains(mine.command_id));
}

// A write that was there before does not survive, a later one does.
TEST_F(Format, WritesBeforeAndAfter) {
  world_.faults->add({.op = storage::Op::kWrite, .delay = seconds(1), .times = 1});
  bob_->io.fill(0, kBlock, 1);
  const nvme::Sqe before = bob_->io.io(IoOpcode::kWrite, 200, 1);
  bob_->io.submit(before);
  world_.run_for(milliseconds(10));
  world_.faults->add({.op = storage::Op::kWriteZeroes, .delay = seconds(2), .times = 1});
  const nvme::Sqe sqe = command(1);
  alice_->admin.submit(sqe);
  world_.run_for(milliseconds(1500));
  EXPECT_STATUS(bob_->io.wait(before.command_id).status(), Status::kSuccess);
  bob_->io.fill(kBlock, kBlock, 2);
  const nvme::Sqe after = bob_->io.io(IoOpcode::kWrite, 201, 1, kBlock);
  bob_->io.submit(after);
  expect_content(2, 7);  // others go on
  EXPECT_FALSE(bob_->io.answers.contains(after.command_id));
  EXPECT_STATUS(alice_->admin.wait(sqe.command_id).status(), Status::kSuccess);
  EXPECT_STATUS(bob_->io.wait(after.command_id).status(), Status::kSuccess);
  expect_content(1, 0);
  EXPECT_STATUS(bob_->io.execute(bob_->io.io(IoOpcode::kRead, 201, 1, kBack)).status(),
                Status::kSuccess);
  EXPECT_TRUE(bob_->io.holds(kBack, kBlock, 2));
}

TEST_F(Format, ErrorsOfTheStore) {
  world_.faults->add(
      {.op = storage::Op::kWriteZeroes, .error = storage::Error::kMediaWrite, .times = 1});
  EXPECT_STATUS(format(nvme::kBroadcastNsid), Status::kWriteFault);
  expect_content(2, 7);
}

TEST_F(Format, AnAbortOfAHungOne) {
  hang();
  const nvme::Sqe sqe = command(1);
  alice_->admin.submit(sqe);
  world_.run_for(milliseconds(10));
  const nvme::Sqe abort = alice_->admin.admin(AdminOpcode::kAbort, uint32_t(sqe.command_id) << 16);
  EXPECT_EQ(uint64_t(alice_->admin.execute(abort).result), 0u);
  EXPECT_STATUS(alice_->admin.wait(sqe.command_id).status(), Status::kAbortRequested);
  // Its blocks stay locked until the store has answered.
  const nvme::Sqe write = bob_->io.io(IoOpcode::kWrite, 200, 1);
  bob_->io.fill(0, kBlock, 3);
  bob_->io.submit(write);
  world_.run_for(seconds(5));
  EXPECT_FALSE(bob_->io.answers.contains(write.command_id));
  world_.run_for(kHangs);
  EXPECT_STATUS(bob_->io.wait(write.command_id).status(), Status::kSuccess);
  expect_content(1, 3);
}

TEST_F(Format, TheEndOfTheConnection) {
  for (const bool in_gate : {false, true}) {
    if (in_gate) {
      world_.faults->add({.op = storage::Op::kWrite, .delay = seconds(1), .times = 1});
      bob_->io.submit(bob_->io.io(IoOpcode::kWrite, 200, 1));
      world_.run_for(milliseconds(1));
    } else {
      hang();
    }
    alice_->admin.submit(command(1));
    world_.run_for(milliseconds(10));
    alice_->io.qp->abort();
    alice_->admin.qp->abort();
    world_.run_for(seconds(4));
    alice_ = std::make_unique<Host>(world_);
    world_.run_for(kHangs);
    EXPECT_STATUS(format(2), Status::kSuccess);
  }
}

}  // namespace
}  // namespace mrpool::nvmf_target::testing
