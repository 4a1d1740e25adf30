// Copy through a whole target: what arrives, what is refused before anything is written, errors in
// the middle, and other commands meanwhile.
#include "tests/unit/examples/nvmf/target/raw_host.h"

namespace mrpool::nvmf_target::testing {
namespace {

constexpr uint32_t kBlock = 4096;
constexpr uint64_t kRanges = 3 << 20;  // of the host's memory
constexpr Nanoseconds kHangs = seconds(600);

struct Source {
  uint64_t first;
  uint32_t count;
};

class Copy : public ::testing::Test {
 protected:
  void serve(bool with_faults = false) {
    world_.serve({"ram:4MiB"}, with_faults);
    host_ = std::make_unique<Host>(world_);
    for (int block = 0; block < 64; ++block) {
      host_->io.fill(size_t(block) * kBlock, kBlock, block + 1);
    }
    EXPECT_STATUS(host_->io.execute(host_->io.io(IoOpcode::kWrite, 0, 64)).status(),
                  Status::kSuccess);
  }
  nvme::Sqe command(uint64_t to, const std::vector<Source>& sources) {
    RawQueue& io = host_->io;
    std::vector<nvme_copy_range> ranges;
    for (const Source& source : sources) {
      nvme_copy_range range{};
      range.slba = nvme::le(source.first);
      range.nlb = nvme::le(uint16_t(source.count - 1));
      ranges.push_back(range);
    }
    bytes_ = ranges.size() * sizeof(nvme_copy_range);
    std::memcpy(&io.memory[kRanges], ranges.data(), bytes_);
    nvme::Sqe sqe = io.io(IoOpcode::kCopy, to, 1);
    sqe.cdw12 = uint32_t(ranges.size() - 1);
    sqe.sgl = SglDescriptor::keyed(io.buffer(kRanges, bytes_), false);
    return sqe;
  }
  nvme::Cqe copy(uint64_t to, const std::vector<Source>& sources) {
    return host_->io.execute(command(to, sources));
  }
  // `values`: of each block from `first` on.
  void expect_blocks(uint64_t first, const std::vector<int>& values) {
    RawQueue& io = host_->io;
    EXPECT_STATUS(
        io.execute(io.io(IoOpcode::kRead, first, uint32_t(values.size()), 1 << 20)).status(),
        Status::kSuccess);
    for (size_t i = 0; i < values.size(); ++i) {
      EXPECT_TRUE(io.holds((1 << 20) + i * kBlock, kBlock, values[i])) << "block " << first + i;
    }
  }
  uint64_t abort(uint16_t command_id) {
    return uint64_t(
        host_->admin
            .execute(host_->admin.admin(AdminOpcode::kAbort, 1 | uint32_t(command_id) << 16))
            .result);
  }

  World world_;
  std::unique_ptr<Host> host_;
  size_t bytes_ = 0;
};

TEST_F(Copy, OneRangeAndSeveral) {
  serve();
  EXPECT_STATUS(copy(100, {{3, 1}}).status(), Status::kSuccess);
  expect_blocks(99, {0, 4, 0});
  EXPECT_STATUS(copy(200, {{10, 2}, {0, 1}, {10, 1}}).status(), Status::kSuccess);
  expect_blocks(199, {0, 11, 12, 1, 11, 0});
  // More than the memory that it takes: several parts.
  EXPECT_STATUS(copy(300, {{0, 64}, {0, 64}}).status(), Status::kSuccess);
  expect_blocks(363, {64, 1});
  expect_blocks(427, {64, 0});
  // Its ranges in the capsule.
  nvme::Sqe sqe = command(500, {{5, 1}, {7, 1}});
  sqe.sgl = SglDescriptor::in_capsule(0, uint32_t(bytes_));
  EXPECT_STATUS(
      host_->io.execute(sqe, std::span(host_->io.memory).subspan(kRanges, bytes_)).status(),
      Status::kSuccess);
  expect_blocks(500, {6, 8, 0});
  const Totals totals = world_.service().target().find(kSubsystem)->totals();
  EXPECT_EQ(totals.copies, 4u);
}

TEST_F(Copy, NothingIsWrittenOfARefusedOne) {
  serve();
  EXPECT_STATUS(copy(100, {{0, 1}, {1024, 1}}).status(), dnr(Status::kLbaOutOfRange));
  EXPECT_STATUS(copy(100, {{0, 1}, {101, 1}}).status(), dnr(Status::kOverlappingRange));
  EXPECT_STATUS(copy(1023, {{0, 2}}).status(), dnr(Status::kLbaOutOfRange));
  nvme::Sqe sqe = command(100, {{0, 1}});
  sqe.sgl = SglDescriptor::keyed(host_->io.buffer(kRanges, 64), false);
  EXPECT_STATUS(host_->io.execute(sqe).status(), dnr(Status::kSglDataLength));
  expect_blocks(99, {0, 0, 0, 0});
  expect_blocks(1022, {0, 0});
}

// The result names the first range that was not copied.
TEST_F(Copy, ErrorsOfTheStoreNameTheRange) {
  serve(true);
  world_.faults->add({.op = storage::Op::kRead,
                      .offset = 5 * kBlock,
                      .length = kBlock,
                      .error = storage::Error::kMediaRead,
                      .times = 1});
  nvme::Cqe cqe = copy(100, {{0, 2}, {2, 1}, {5, 1}, {6, 1}});
  EXPECT_STATUS(cqe.status(), Status::kUnrecoveredRead);
  EXPECT_EQ(uint64_t(cqe.result), 2u);
  expect_blocks(100, {1, 2, 3, 0, 0});
  world_.faults->add({.op = storage::Op::kWrite,
                      .offset = 201 * kBlock,
                      .length = kBlock,
                      .error = storage::Error::kNoSpace,
                      .times = 1});
  cqe = copy(200, {{0, 1}, {1, 1}});
  EXPECT_STATUS(cqe.status(), dnr(Status::kCapacityExceeded));
  EXPECT_EQ(uint64_t(cqe.result), 1u);
}

// Between two parts other commands go on, and an Abort ends it.
TEST_F(Copy, AbortsAndOthers) {
  serve(true);
  RawQueue& io = host_->io;
  world_.faults->add({.op = storage::Op::kRead, .delay = seconds(1), .times = 3});
  const nvme::Sqe slow = command(100, {{0, 31}, {0, 31}, {0, 31}});
  io.submit(slow);
  world_.run_for(milliseconds(1500));
  EXPECT_STATUS(io.execute(io.io(IoOpcode::kWrite, 900, 1)).status(), Status::kSuccess);
  EXPECT_EQ(abort(slow.command_id), 0u);
  const nvme::Cqe cqe = io.wait(slow.command_id);
  EXPECT_STATUS(cqe.status(), Status::kAbortRequested);
  EXPECT_GE(uint64_t(cqe.result), 1u);
  world_.faults->clear();
  // A store that hangs while it writes: its blocks stay locked until it has answered.
  world_.faults->add({.op = storage::Op::kWrite, .delay = kHangs, .times = 1});
  const nvme::Sqe hung = command(400, {{0, 2}});
  io.submit(hung);
  world_.run_for(milliseconds(10));
  EXPECT_EQ(abort(hung.command_id), 0u);
  EXPECT_STATUS(io.wait(hung.command_id).status(), Status::kAbortRequested);
  const nvme::Sqe write = io.io(IoOpcode::kWrite, 401, 1);
  io.submit(write);
  world_.run_for(seconds(5));
  EXPECT_FALSE(io.answers.contains(write.command_id));
  world_.run_for(kHangs);
  EXPECT_STATUS(io.wait(write.command_id).status(), Status::kSuccess);
  expect_blocks(400, {1, 1, 0});
}

TEST_F(Copy, TheEndOfTheConnection) {
  serve(true);
  for (const storage::Op op : {storage::Op::kRead, storage::Op::kWrite}) {
    world_.faults->add({.op = op, .delay = kHangs, .times = 1});
    host_->io.submit(command(100, {{0, 64}}));
    world_.run_for(milliseconds(10));
    host_->io.qp->abort();
    host_->admin.qp->abort();
    world_.run_for(seconds(4));
    host_ = std::make_unique<Host>(world_);
    world_.run_for(kHangs);
    EXPECT_STATUS(copy(200, {{0, 2}}).status(), Status::kSuccess);
  }
}

// Many at once take turns with little staging memory.
TEST_F(Copy, ManyAtOnce) {
  serve();
  std::vector<nvme::Sqe> all;
  for (uint64_t i = 0; i < 12; ++i) {
    all.push_back(command(100 + 64 * i, {{0, 64}}));
    host_->io.submit(all.back());
  }
  for (const nvme::Sqe& sqe : all) {
    EXPECT_STATUS(host_->io.wait(sqe.command_id).status(), Status::kSuccess);
  }
  expect_blocks(100 + 64 * 11, {1, 2, 3});
  expect_blocks(100 + 64 * 12 - 1, {64, 0});
}

}  // namespace
}  // namespace mrpool::nvmf_target::testing
