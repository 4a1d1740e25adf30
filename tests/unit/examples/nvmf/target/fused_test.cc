// Compare and Write, the fused operation: what it does, which pairs are refused, that no other
// write comes between, and how it ends before its time.
#include "tests/unit/examples/nvmf/target/raw_host.h"

namespace mrpool::nvmf_target::testing {
namespace {

constexpr uint32_t kBlock = 4096;
constexpr uint64_t kExpected = 0, kNew = 1 << 20, kBack = 2 << 20, kOther = 3 << 20;
constexpr Nanoseconds kHangs = seconds(600);

struct Pair {
  nvme::Sqe compare, write;
};
struct Ending {
  Status compare, write;
};

class Fused : public ::testing::Test {
 protected:
  Fused() {
    world_.serve({"ram:1MiB", "ram:1MiB"}, true);
    alice_ = std::make_unique<Host>(world_);
    bob_ = std::make_unique<Host>(world_, 32, "nqn.2024-01.org.example:bob", 9);
  }
  // From `expected` to `next`, both repeated in all bytes.
  Pair make(RawQueue& io, uint64_t block, uint32_t blocks, int expected, int next) {
    io.fill(kExpected, size_t{blocks} * kBlock, expected);
    io.fill(kNew, size_t{blocks} * kBlock, next);
    Pair pair{io.io(IoOpcode::kCompare, block, blocks, kExpected),
              io.io(IoOpcode::kWrite, block, blocks, kNew)};
    pair.compare.flags = pair.compare.flags | 1;
    pair.write.flags = pair.write.flags | 2;
    return pair;
  }
  void submit(RawQueue& io, const Pair& pair) {
    io.submit(pair.compare);
    io.submit(pair.write);
  }
  Ending wait(RawQueue& io, const Pair& pair) {
    const Status compare = io.wait(pair.compare.command_id).status();
    return {compare, io.wait(pair.write.command_id).status()};
  }
  Ending run(RawQueue& io, const Pair& pair) {
    submit(io, pair);
    return wait(io, pair);
  }
  void expect(const Ending& ending, Status compare, Status write) {
    EXPECT_STATUS(ending.compare, compare);
    EXPECT_STATUS(ending.write, write);
  }
  void expect_block(uint64_t block, int value, uint32_t nsid = 1) {
    RawQueue& io = alice_->io;
    EXPECT_STATUS(io.execute(io.io(IoOpcode::kRead, block, 1, kBack, nsid)).status(),
                  Status::kSuccess);
    EXPECT_TRUE(io.holds(kBack, kBlock, value)) << "block " << block;
  }
  nvme::Sqe write_of(RawQueue& io, uint64_t block, int value) {
    io.fill(kOther, kBlock, value);
    return io.io(IoOpcode::kWrite, block, 1, kOther);
  }
  bool answered(RawQueue& io, const nvme::Sqe& sqe) { return io.answers.contains(sqe.command_id); }
  // 0: aborted.
  uint64_t abort(uint16_t command_id) {
    return uint64_t(
        alice_->admin
            .execute(alice_->admin.admin(AdminOpcode::kAbort, 1 | uint32_t(command_id) << 16))
            .result);
  }
  void delay(storage::Op op, Nanoseconds how_long, uint32_t times = 1) {
    world_.faults->add({.op = op, .delay = how_long, .times = times});
  }

  World world_;
  std::unique_ptr<Host> alice_, bob_;
};

TEST_F(Fused, WritesIfItIsWhatIsExpected) {
  RawQueue& io = alice_->io;
  expect(run(io, make(io, 3, 2, 0, 1)), Status::kSuccess, Status::kSuccess);
  expect_block(3, 1);
  expect_block(4, 1);
  expect(run(io, make(io, 3, 2, 0, 2)), dnr(Status::kCompareFailure), Status::kFailedFused);
  expect_block(3, 1);
  // The Compare is answered first.
  EXPECT_GT(io.order.size(), 4u);
  expect(run(io, make(io, 3, 1, 1, 5)), Status::kSuccess, Status::kSuccess);
  expect_block(3, 5);
  expect_block(4, 1);
  const Totals totals = world_.service().target().find(kSubsystem)->totals();
  EXPECT_EQ(totals.compare_and_writes, 2u);
}

TEST_F(Fused, TheLongestAndTheFirstThatIsTooLong) {
  RawQueue& io = alice_->io;
  constexpr uint32_t kMost = kMaxFused / kBlock;
  expect(run(io, make(io, 8, kMost, 0, 1)), Status::kSuccess, Status::kSuccess);
  expect_block(8 + kMost - 1, 1);
  expect(run(io, make(io, 8, kMost + 1, 0, 2)), dnr(Status::kAtomicWriteUnitExceeded),
         Status::kFailedFused);
  expect_block(8, 1);
}

TEST_F(Fused, DataInTheCapsule) {
  RawQueue& io = alice_->io;
  const std::vector<std::byte> zeroes(kBlock), ones(kBlock, std::byte{1});
  for (const bool compare_inside : {true, false}) {
    Pair pair = make(io, 1, 1, compare_inside ? 0 : 1, compare_inside ? 1 : 2);
    (compare_inside ? pair.compare : pair.write).sgl = SglDescriptor::in_capsule(0, kBlock);
    io.submit(pair.compare, compare_inside ? zeroes : std::vector<std::byte>());
    io.submit(pair.write, compare_inside ? std::vector<std::byte>() : ones);
    expect(wait(io, pair), Status::kSuccess, Status::kSuccess);
    expect_block(1, 1);
  }
  Pair both = make(io, 1, 1, 0, 0);
  both.compare.sgl = both.write.sgl = SglDescriptor::in_capsule(0, kBlock);
  io.submit(both.compare, ones);
  io.submit(both.write, zeroes);
  expect(wait(io, both), Status::kSuccess, Status::kSuccess);
  expect_block(1, 0);
}

TEST_F(Fused, PairsThatAreNone) {
  RawQueue& io = alice_->io;
  const Status missing = dnr(Status::kMissingFused), invalid = dnr(Status::kInvalidField);
  // The second alone; the first before anything else, or before another first.
  EXPECT_STATUS(io.execute(make(io, 0, 1, 0, 1).write).status(), missing);
  const Pair pair = make(io, 0, 1, 0, 1);
  const nvme::Sqe read = io.io(IoOpcode::kRead, 0, 1, kBack);
  io.submit(pair.compare);
  EXPECT_STATUS(io.execute(read).status(), Status::kSuccess);
  EXPECT_STATUS(io.wait(pair.compare.command_id).status(), missing);
  const Pair twice = make(io, 0, 1, 0, 1);
  const nvme::Sqe again = make(io, 0, 1, 0, 1).compare;
  io.submit(twice.compare);
  io.submit(again);
  io.submit(twice.write);
  EXPECT_STATUS(io.wait(twice.compare.command_id).status(), missing);
  EXPECT_STATUS(io.wait(again.command_id).status(), Status::kSuccess);
  EXPECT_STATUS(io.wait(twice.write.command_id).status(), Status::kSuccess);
  expect_block(0, 1);
  // Other blocks, another namespace.
  Pair other = make(io, 0, 1, 1, 9);
  other.write.set_range(1, 1);
  expect(run(io, other), invalid, invalid);
  other = make(io, 0, 2, 1, 9);
  other.write.set_range(0, 1);
  other.write.sgl = SglDescriptor::keyed(io.buffer(kNew, kBlock), false);
  expect(run(io, other), invalid, invalid);
  other = make(io, 0, 1, 1, 9);
  other.write.nsid = uint32_t{2};
  expect(run(io, other), invalid, invalid);
  // Other commands.
  other = make(io, 0, 1, 1, 9);
  other.compare.opcode = uint8_t(IoOpcode::kRead);
  expect(run(io, other), invalid, missing);
  other = make(io, 0, 1, 1, 9);
  other.write.opcode = uint8_t(IoOpcode::kWriteZeroes);
  expect(run(io, other), missing, invalid);
  // What has no such flag.
  other = make(io, 0, 1, 1, 9);
  other.compare.flags = other.compare.flags | 3;
  EXPECT_STATUS(io.execute(other.compare).status(), invalid);
  nvme::Sqe identify = alice_->admin.admin(AdminOpcode::kIdentify, 1, 0, 4096);
  identify.flags = identify.flags | 1;
  EXPECT_STATUS(alice_->admin.execute(identify).status(), invalid);
  expect_block(0, 1);
}

// What refuses one of the two refuses both, and nothing is written.
TEST_F(Fused, ARefusalIsForBoth) {
  RawQueue& io = alice_->io;
  expect(run(io, make(io, 256, 1, 0, 1)), dnr(Status::kLbaOutOfRange), Status::kFailedFused);
  Pair pair = make(io, 0, 1, 0, 1);
  pair.write.sgl = SglDescriptor::keyed(io.buffer(kNew, 512), false);
  expect(run(io, pair), Status::kFailedFused, dnr(Status::kSglDataLength));
  pair = make(io, 0, 1, 0, 1);
  pair.compare.sgl = SglDescriptor::keyed({io.buffer(0, kBlock).addr, kBlock, Rkey{1}}, false);
  submit(io, pair);
  EXPECT_TRUE(io.wait_down());  // a key that is none
  EXPECT_STATUS(bob_->io.execute(bob_->io.io(IoOpcode::kRead, 0, 1, kBack)).status(),
                Status::kSuccess);
  EXPECT_TRUE(bob_->io.holds(kBack, kBlock, 0));
}

TEST_F(Fused, ErrorsOfTheStore) {
  RawQueue& io = alice_->io;
  world_.faults->add({.op = storage::Op::kRead, .error = storage::Error::kMediaRead, .times = 1});
  expect(run(io, make(io, 0, 1, 0, 1)), Status::kUnrecoveredRead, Status::kFailedFused);
  world_.faults->add({.op = storage::Op::kWrite, .error = storage::Error::kMediaWrite, .times = 1});
  expect(run(io, make(io, 0, 1, 0, 1)), Status::kSuccess, Status::kWriteFault);
  expect_block(0, 0);
}

// While it reads and writes, no write of another host reaches its blocks; other blocks are free.
TEST_F(Fused, NothingComesBetween) {
  RawQueue& io = alice_->io;
  delay(storage::Op::kRead, seconds(1));
  const Pair pair = make(io, 3, 2, 0, 1);
  submit(io, pair);
  world_.run_for(milliseconds(10));
  const nvme::Sqe write = write_of(bob_->io, 4, 7);
  nvme::Sqe zeroes = bob_->io.io(IoOpcode::kWriteZeroes, 3, 1);
  zeroes.sgl = SglDescriptor::keyed({}, false);
  const Pair rival = make(bob_->io, 3, 1, 0, 2);
  bob_->io.submit(write);
  bob_->io.submit(zeroes);
  submit(bob_->io, rival);
  world_.run_for(milliseconds(100));
  EXPECT_FALSE(answered(bob_->io, write) || answered(bob_->io, zeroes) ||
               answered(bob_->io, rival.compare));
  EXPECT_STATUS(bob_->io.execute(bob_->io.io(IoOpcode::kWrite, 5, 1, kBack)).status(),
                Status::kSuccess);
  EXPECT_STATUS(bob_->io.execute(bob_->io.io(IoOpcode::kRead, 3, 1, kBack)).status(),
                Status::kSuccess);
  expect(wait(io, pair), Status::kSuccess, Status::kSuccess);
  EXPECT_STATUS(bob_->io.wait(write.command_id).status(), Status::kSuccess);
  EXPECT_STATUS(bob_->io.wait(zeroes.command_id).status(), Status::kSuccess);
  expect_block(4, 7);
  // The zeroes came before it.
  expect(wait(bob_->io, rival), Status::kSuccess, Status::kSuccess);
  expect_block(3, 2);
}

TEST_F(Fused, OfTwoWithOneValueOneSucceeds) {
  delay(storage::Op::kRead, milliseconds(50), 2);
  const Pair first = make(alice_->io, 0, 1, 0, 1);
  const Pair second = make(bob_->io, 0, 1, 0, 2);
  submit(alice_->io, first);
  submit(bob_->io, second);
  const bool won = ok(wait(alice_->io, first).write);
  EXPECT_NE(won, ok(wait(bob_->io, second).write));
  expect_block(0, won ? 1 : 2);
}

// It starts when the writes before it have ended, and ends early while it waits for them.
TEST_F(Fused, WaitsForWritesThatWereThere) {
  RawQueue& io = alice_->io;
  delay(storage::Op::kWrite, seconds(1));
  const nvme::Sqe write = write_of(bob_->io, 0, 7);
  bob_->io.submit(write);
  world_.run_for(milliseconds(10));
  const Pair aborted = make(io, 0, 1, 0, 1);
  submit(io, aborted);
  world_.run_for(milliseconds(10));
  EXPECT_FALSE(answered(io, aborted.compare));
  EXPECT_EQ(abort(aborted.compare.command_id), 1u);  // the Write leads
  EXPECT_EQ(abort(aborted.write.command_id), 0u);
  expect(wait(io, aborted), Status::kFailedFused, Status::kAbortRequested);
  const Pair pair = make(io, 0, 1, 7, 8);
  submit(io, pair);
  expect(wait(io, pair), Status::kSuccess, Status::kSuccess);
  EXPECT_STATUS(bob_->io.wait(write.command_id).status(), Status::kSuccess);
  expect_block(0, 8);
}

TEST_F(Fused, AFirstWhoseSecondNeverComes) {
  RawQueue& io = alice_->io;
  Pair pair = make(io, 0, 1, 0, 1);
  io.submit(pair.compare);
  world_.run_for(kFusedPatience + seconds(1));
  EXPECT_STATUS(io.wait(pair.compare.command_id).status(), dnr(Status::kMissingFused));
  EXPECT_STATUS(io.execute(pair.write).status(), dnr(Status::kMissingFused));
  // Aborted while it waits.
  pair = make(io, 0, 1, 0, 1);
  io.submit(pair.compare);
  world_.run_for(milliseconds(1));
  EXPECT_EQ(abort(pair.compare.command_id), 0u);
  EXPECT_STATUS(io.wait(pair.compare.command_id).status(), Status::kAbortRequested);
  EXPECT_STATUS(io.execute(pair.write).status(), dnr(Status::kMissingFused));
  expect_block(0, 0);
}

// A store that hangs while it reads, and while it writes.
TEST_F(Fused, AbortsOfAHungStore) {
  RawQueue& io = alice_->io;
  for (const storage::Op op : {storage::Op::kRead, storage::Op::kWrite}) {
    const bool reads = op == storage::Op::kRead;
    delay(op, kHangs);
    const Pair pair = make(io, 0, 1, 0, 1);
    submit(io, pair);
    world_.run_for(milliseconds(10));
    EXPECT_EQ(abort(pair.write.command_id), 0u);
    expect(wait(io, pair), reads ? Status::kFailedFused : Status::kSuccess,
           Status::kAbortRequested);
    // Others have the blocks again, unless the store may still write them.
    const nvme::Sqe other = write_of(bob_->io, 0, 0);
    bob_->io.submit(other);
    world_.run_for(seconds(5));
    EXPECT_EQ(answered(bob_->io, other), reads);
    world_.run_for(kHangs);
    EXPECT_STATUS(bob_->io.wait(other.command_id).status(), Status::kSuccess);
    expect_block(0, 0);
  }
}

// Connections that end at each stage: nothing is left, and others go on.
TEST_F(Fused, TheEndOfTheConnection) {
  for (int stage = 0; stage < 4; ++stage) {
    Host host(world_, 32, "nqn.2024-01.org.example:carol", 3);
    if (stage == 1) delay(storage::Op::kRead, kHangs);
    if (stage == 2) delay(storage::Op::kWrite, kHangs);
    if (stage == 3) {
      delay(storage::Op::kWrite, seconds(1));
      bob_->io.submit(write_of(bob_->io, 0, 0));
      world_.run_for(milliseconds(1));
    }
    const Pair pair = make(host.io, 0, 1, 0, 1);
    host.io.submit(pair.compare);
    if (stage != 0) host.io.submit(pair.write);
    world_.run_for(milliseconds(10));
    host.io.qp->abort();
    host.admin.qp->abort();
    world_.run_for(seconds(4));
    Host again(world_, 32, "nqn.2024-01.org.example:carol", 3);
    const nvme::Sqe write = write_of(again.io, 0, 0);
    again.io.submit(write);
    world_.run_for(kHangs);
    EXPECT_STATUS(again.io.wait(write.command_id).status(), Status::kSuccess) << stage;
    expect_block(0, 0);
  }
}

TEST_F(Fused, ManyAtOnceFromTwoHosts) {
  delay(storage::Op::kRead, milliseconds(1), 1000);
  std::vector<std::pair<RawQueue*, Pair>> all;
  for (int i = 0; i < 7; ++i) {
    for (RawQueue* io : {&alice_->io, &bob_->io}) {
      const uint64_t block = i % 2;
      Pair pair = make(*io, block, 1, 0, 1);
      submit(*io, pair);
      all.emplace_back(io, pair);
    }
  }
  int won = 0;
  for (auto& [io, pair] : all) won += ok(wait(*io, pair).write) ? 1 : 0;
  EXPECT_EQ(won, 2);
}

}  // namespace
}  // namespace mrpool::nvmf_target::testing
