// Write Uncorrectable through a whole target: which commands fail at marked blocks, which remove
// the marks, and what survives.
#include <filesystem>

#include "tests/unit/examples/nvmf/target/raw_host.h"

namespace mrpool::nvmf_target::testing {
namespace {

constexpr uint32_t kBlock = 4096;
constexpr uint64_t kBack = 1 << 20;
constexpr Nanoseconds kHangs = seconds(600);

class WriteUncorrectable : public ::testing::Test {
 protected:
  void serve(bool keep = false) {
    world_ = std::make_unique<World>([&](Service::Options& options) {
      if (keep) options.engine.state_dir = state_dir_;
      options.keep_state_at_once = true;
    });
    world_->serve({"ram:4MiB,name=marked", "ram:1MiB"}, true);
    // Memory does not outlive the process, so its marks are kept for the test only.
    if (keep) {
      ASSERT_TRUE(marks().keep_at(state_dir_ + "/bad-1").ok());
    }
    host_ = std::make_unique<Host>(*world_);
  }
  void SetUp() override {
    std::filesystem::remove_all(state_dir_);
    std::filesystem::create_directory(state_dir_);
  }
  void TearDown() override {
    host_.reset();
    world_.reset();
    std::filesystem::remove_all(state_dir_);
  }
  storage::BadBlocks& marks() { return world_->service().stores().front()->bad_blocks(); }

  RawQueue& io() { return host_->io; }
  nvme::Sqe command(IoOpcode opcode, uint64_t slba, uint32_t blocks) {
    nvme::Sqe sqe = io().io(opcode, slba, blocks, kBack);
    if (nvme::data_direction(uint8_t(opcode)) == nvme::DataDirection::kNone) {
      sqe.sgl = SglDescriptor::keyed({}, false);
    }
    return sqe;
  }
  Status run(IoOpcode opcode, uint64_t slba, uint32_t blocks = 1) {
    return io().execute(command(opcode, slba, blocks)).status();
  }
  Status mark(uint64_t slba, uint32_t blocks = 1) {
    return run(IoOpcode::kWriteUncorrectable, slba, blocks);
  }
  Status read(uint64_t slba, uint32_t blocks = 1) { return run(IoOpcode::kRead, slba, blocks); }
  template <typename T>
  Status with_ranges(IoOpcode opcode, uint64_t slba, const T& range, uint32_t cdw11) {
    std::memcpy(io().memory.data(), &range, sizeof range);
    nvme::Sqe sqe = io().io(opcode, slba, 1);
    sqe.sgl = SglDescriptor::keyed(io().buffer(0, sizeof range), false);
    if (opcode == IoOpcode::kDatasetManagement) {
      sqe.cdw10 = uint32_t{0};
      sqe.cdw11 = cdw11;
    }
    sqe.cdw12 = uint32_t{0};
    return io().execute(sqe).status();
  }
  Status copy(uint64_t from, uint64_t to) {
    nvme_copy_range range{};
    range.slba = nvme::le(from);
    return with_ranges(IoOpcode::kCopy, to, range, 0);
  }
  Status deallocate(uint64_t slba, uint32_t blocks) {
    nvme_dsm_range range{};
    range.slba = nvme::le(slba);
    range.nlb = nvme::le(blocks);
    return with_ranges(IoOpcode::kDatasetManagement, 0, range, 1u << 2);
  }
  std::pair<Status, Status> compare_and_write(uint64_t slba) {
    nvme::Sqe sqes[2] = {io().io(IoOpcode::kCompare, slba, 1),
                         io().io(IoOpcode::kWrite, slba, 1, kBlock)};
    for (int i = 0; i < 2; ++i) {
      sqes[i].flags = uint8_t(sqes[i].flags | (i + 1));
      io().submit(sqes[i]);
    }
    const Status first = io().wait(sqes[0].command_id).status();
    return {first, io().wait(sqes[1].command_id).status()};
  }

  const Status kBad = dnr(Status::kUnrecoveredRead);
  const std::string state_dir_ = ::testing::TempDir() + "/write_uncorrectable_test";
  std::unique_ptr<World> world_;
  std::unique_ptr<Host> host_;
};

TEST_F(WriteUncorrectable, WhatReadsMarkedBlocksFails) {
  serve();
  EXPECT_STATUS(read(0, 64), Status::kSuccess);
  EXPECT_STATUS(mark(10, 3), Status::kSuccess);
  for (const IoOpcode opcode : {IoOpcode::kRead, IoOpcode::kCompare, IoOpcode::kVerify}) {
    EXPECT_STATUS(run(opcode, 0, 64), kBad);
    EXPECT_STATUS(run(opcode, 12), kBad);
    EXPECT_STATUS(run(opcode, 0, 10), Status::kSuccess);
    EXPECT_STATUS(run(opcode, 13, 10), Status::kSuccess);
  }
  EXPECT_STATUS(copy(11, 100), kBad);
  EXPECT_STATUS(copy(13, 100), Status::kSuccess);
  const auto [compare, write] = compare_and_write(11);
  EXPECT_STATUS(compare, kBad);
  EXPECT_STATUS(write, Status::kFailedFused);
  EXPECT_STATUS(run(IoOpcode::kFlush, 0), Status::kSuccess);
  EXPECT_STATUS(read(11), kBad);
  // The other namespace has no marks.
  EXPECT_STATUS(io().execute(io().io(IoOpcode::kRead, 11, 1, kBack, 2)).status(), Status::kSuccess);
}

TEST_F(WriteUncorrectable, WhatWritesRemovesMarks) {
  serve();
  const auto expect_good = [&](uint64_t slba, int value) {
    EXPECT_STATUS(read(slba), Status::kSuccess);
    EXPECT_TRUE(io().holds(kBack, kBlock, value)) << slba;
  };
  io().fill(kBack, 64 * kBlock, 7);
  EXPECT_STATUS(run(IoOpcode::kWrite, 0, 64), Status::kSuccess);
  EXPECT_STATUS(mark(0, 64), Status::kSuccess);
  io().fill(kBack, kBlock, 8);
  EXPECT_STATUS(run(IoOpcode::kWrite, 1), Status::kSuccess);
  EXPECT_STATUS(run(IoOpcode::kWriteZeroes, 3), Status::kSuccess);
  EXPECT_STATUS(copy(100, 5), Status::kSuccess);
  EXPECT_STATUS(deallocate(7, 1), Status::kSuccess);
  expect_good(1, 8);
  for (const uint64_t slba : {3, 5, 7}) expect_good(slba, 0);
  for (const uint64_t slba : {0, 2, 4, 6, 8, 63}) EXPECT_STATUS(read(slba), kBad);
  nvme::Sqe format = host_->admin.admin(AdminOpcode::kFormat);
  format.nsid = 1;
  EXPECT_STATUS(host_->admin.execute(format).status(), Status::kSuccess);
  EXPECT_STATUS(read(0, 64), Status::kSuccess);
  EXPECT_FALSE(marks().any());
}

TEST_F(WriteUncorrectable, AWriteThatFailsLeavesTheMark) {
  serve();
  EXPECT_STATUS(mark(1), Status::kSuccess);
  world_->faults->add(
      {.op = storage::Op::kWrite, .error = storage::Error::kMediaWrite, .times = 1});
  EXPECT_STATUS(run(IoOpcode::kWrite, 1), Status::kWriteFault);
  EXPECT_STATUS(read(1), kBad);
  EXPECT_STATUS(run(IoOpcode::kWrite, 1), Status::kSuccess);
  EXPECT_STATUS(read(1), Status::kSuccess);
}

TEST_F(WriteUncorrectable, ItIsAWrite) {
  serve();
  EXPECT_STATUS(mark(1024), dnr(Status::kLbaOutOfRange));
  EXPECT_STATUS(mark(1000, 25), dnr(Status::kLbaOutOfRange));
  EXPECT_STATUS(mark(0, 1024), Status::kSuccess);  // all: MDTS is no limit
  EXPECT_STATUS(read(1023), kBad);
}

TEST_F(WriteUncorrectable, ATableThatIsFullIsAnError) {
  serve();
  world_->serve({"null:1GiB,name=large"}, true);
  EXPECT_STATUS(read(0), dnr(Status::kInvalidNamespace));  // another store
  host_ = std::make_unique<Host>(*world_);
  EXPECT_STATUS(mark(0, 65536), Status::kSuccess);
  EXPECT_STATUS(mark(70'000), dnr(Status::kCapacityExceeded));
  EXPECT_STATUS(run(IoOpcode::kWriteZeroes, 9), Status::kSuccess);
  EXPECT_STATUS(mark(70'000), Status::kSuccess);
}

TEST_F(WriteUncorrectable, AReloadKeepsTheMarks) {
  serve();
  EXPECT_STATUS(mark(5), Status::kSuccess);
  world_->serve({"ram:4MiB,name=marked"}, true);
  EXPECT_STATUS(read(5), kBad);
  EXPECT_STATUS(read(4), Status::kSuccess);
}

// Marks and unmarks are answered when they are on disk, and by a message.
TEST_F(WriteUncorrectable, KeptMarks) {
  serve(true);
  EXPECT_STATUS(mark(5, 4), Status::kSuccess);
  storage::BadBlocks again;
  ASSERT_TRUE(again.keep_at(state_dir_ + "/bad-1").ok());
  EXPECT_EQ(again.first_in(0, 4 << 20), 5u * kBlock);
  EXPECT_STATUS(read(0, 6), kBad);
  io().fill(kBack, kBlock, 9);
  EXPECT_STATUS(run(IoOpcode::kWrite, 5), Status::kSuccess);
  EXPECT_STATUS(copy(5, 6), Status::kSuccess);
  EXPECT_STATUS(deallocate(7, 1), Status::kSuccess);
  EXPECT_STATUS(compare_and_write(8).first, kBad);
  EXPECT_STATUS(read(5, 3), Status::kSuccess);
  EXPECT_TRUE(io().holds(kBack, 2 * kBlock, 9));
  nvme::Sqe format = host_->admin.admin(AdminOpcode::kFormat);
  format.nsid = 1;
  EXPECT_STATUS(host_->admin.execute(format).status(), Status::kSuccess);
  EXPECT_FALSE(std::filesystem::exists(state_dir_ + "/bad-1"));
  EXPECT_STATUS(read(8), Status::kSuccess);
}

TEST_F(WriteUncorrectable, MarksThatCannotBeKept) {
  serve(true);
  EXPECT_STATUS(mark(5), Status::kSuccess);
  std::filesystem::remove_all(state_dir_);
  EXPECT_STATUS(mark(6), Status::kWriteFault);
  EXPECT_STATUS(read(6), Status::kSuccess);
  EXPECT_STATUS(run(IoOpcode::kWrite, 5), Status::kWriteFault);
  EXPECT_STATUS(read(5), kBad);
  std::filesystem::create_directory(state_dir_);
  EXPECT_STATUS(run(IoOpcode::kWrite, 5), Status::kSuccess);
  EXPECT_STATUS(read(5), Status::kSuccess);
}

// The host of a write to a marked block goes away while the store works on it.
TEST_F(WriteUncorrectable, TheHostGoesAway) {
  serve(true);
  EXPECT_STATUS(mark(5), Status::kSuccess);
  world_->faults->add({.op = storage::Op::kWrite, .delay = milliseconds(20), .times = 1});
  io().submit(command(IoOpcode::kWrite, 5, 1));
  world_->run_for(milliseconds(5));
  host_.reset();
  world_->run_for(milliseconds(100));
  host_ = std::make_unique<Host>(*world_);
  EXPECT_STATUS(read(5), Status::kSuccess);
}

// An aborted write that the store has not answered: its blocks wait, and are good afterwards.
TEST_F(WriteUncorrectable, AnAbortOfAHungWrite) {
  serve(true);
  EXPECT_STATUS(mark(5), Status::kSuccess);
  world_->faults->add({.op = storage::Op::kWrite, .delay = kHangs, .times = 1});
  const nvme::Sqe write = command(IoOpcode::kWrite, 5, 1);
  io().submit(write);
  world_->run_for(milliseconds(10));
  const nvme::Sqe abort =
      host_->admin.admin(AdminOpcode::kAbort, uint32_t(write.command_id) << 16 | 1);
  EXPECT_EQ(uint64_t(host_->admin.execute(abort).result), 0u);
  EXPECT_STATUS(io().wait(write.command_id).status(), Status::kAbortRequested);
  const nvme::Sqe again = command(IoOpcode::kRead, 5, 1);
  io().submit(again);
  world_->run_for(milliseconds(100));
  EXPECT_FALSE(io().answers.contains(again.command_id));
  EXPECT_STATUS(io().wait(again.command_id).status(), Status::kSuccess);
}

}  // namespace
}  // namespace mrpool::nvmf_target::testing
