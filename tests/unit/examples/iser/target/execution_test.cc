#include "examples/iser/target/execution.h"

#include <gtest/gtest.h>

#include <cstring>
#include <deque>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "tests/sim/reactor.h"

namespace mrpool::iser_target {
namespace {

using scsi::Plan;
using scsi::Sense;
using scsi::Status;

constexpr uint32_t kBlock = 512;
constexpr uint64_t kBlocks = 1024;

// Storage in a vector. Requests finish at once, or when the test lets them.
class Memory final : public storage::Channel {
 public:
  bool submit(storage::Io& io) override {
    log.push_back(io.op);
    if (later) {
      queue.push_back(&io);
      return false;
    }
    carry_out(io);
    return true;
  }
  void release(storage::Io&) override {}
  uint32_t pending() const override { return uint32_t(queue.size()); }
  Nanoseconds oldest_age(Nanoseconds) const override { return {}; }

  void step() {
    storage::Io* io = queue.front();
    queue.pop_front();
    carry_out(*io);
    io->done(*io);
  }
  void carry_out(storage::Io& io) {
    io.error = error;
    if (error != storage::Error::kNone) return;
    uint64_t at = io.offset;
    switch (io.op) {
      case storage::Op::kRead:
        for (const iovec& part : io.buffers) {
          std::memcpy(part.iov_base, &bytes[at], part.iov_len);
          at += part.iov_len;
        }
        break;
      case storage::Op::kWrite:
        fua = io.fua;
        for (const iovec& part : io.buffers) {
          std::memcpy(&bytes[at], part.iov_base, part.iov_len);
          at += part.iov_len;
        }
        break;
      case storage::Op::kWriteZeroes:
        deallocated = io.deallocate;
        std::memset(&bytes[at], 0, io.length);
        break;
      default:
        break;
    }
  }

  std::vector<uint8_t> bytes = std::vector<uint8_t>(kBlock * kBlocks, 0xdd);
  std::deque<storage::Io*> queue;
  std::vector<storage::Op> log;
  storage::Error error = storage::Error::kNone;
  bool later = false;
  bool fua = false;
  bool deallocated = false;
};

struct Counted : Execution {
  Counted() : Execution([](Execution& self) { ++static_cast<Counted&>(self).calls; }) {}
  int calls = 0;
};

class ExecutionTest : public testing::Test {
 protected:
  Plan plan(Plan::Kind kind, uint64_t lba, uint64_t blocks) {
    return {.kind = kind, .lba = lba, .blocks = blocks};
  }
  // Data in two pieces that do not end on a block.
  std::vector<iovec> pieces(std::vector<uint8_t>& data, size_t first = 100) {
    return {{data.data(), first}, {data.data() + first, data.size() - first}};
  }

  Memory memory;
  sim::SimReactor reactor;
  storage::RangeGate gate;
  storage::LateRanges late;
  std::shared_ptr<storage::Volume> volume = *storage::open("null:512KiB,bs=512");
  Store store{memory, kBlock, late, gate, 0, reactor, *volume};
};

TEST_F(ExecutionTest, ReadsAndWrites) {
  std::vector<uint8_t> data(3 * kBlock, 0x11), back(3 * kBlock);
  Counted write, read;
  Plan planned = plan(Plan::Kind::kWrite, 5, 3);
  planned.fua = true;
  EXPECT_TRUE(write.start(store, planned, pieces(data)));
  EXPECT_EQ(write.status(), Status::kGood);
  EXPECT_TRUE(memory.fua);
  EXPECT_TRUE(read.start(store, plan(Plan::Kind::kRead, 5, 3), pieces(back)));
  EXPECT_EQ(back, data);
  EXPECT_EQ(memory.bytes[5 * kBlock - 1], 0xdd);
  EXPECT_EQ(memory.bytes[8 * kBlock], 0xdd);
  EXPECT_EQ(write.calls, 0);
  EXPECT_TRUE(store.gate.empty());
}

TEST_F(ExecutionTest, WaitsForStorage) {
  memory.later = true;
  std::vector<uint8_t> data(kBlock);
  Counted read;
  const auto vectors = pieces(data);
  EXPECT_FALSE(read.start(store, plan(Plan::Kind::kRead, 0, 1), vectors));
  EXPECT_EQ(read.calls, 0);
  memory.step();
  EXPECT_EQ(read.calls, 1);
  EXPECT_EQ(data[0], 0xdd);
}

TEST_F(ExecutionTest, StorageErrorsBecomeSenseData) {
  std::vector<uint8_t> data(kBlock);
  for (const auto& [error, sense] : std::initializer_list<std::pair<storage::Error, Sense>>{
           {storage::Error::kMediaRead, scsi::kReadError},
           {storage::Error::kMediaWrite, scsi::kWriteError},
           {storage::Error::kNoSpace, scsi::kSpaceAllocationFailed},
           {storage::Error::kReadOnly, scsi::kWriteProtected},
           {storage::Error::kMarksFull, scsi::kNoDefectSpare},
           {storage::Error::kMarkNotKept, scsi::kDefectListUpdateFailure},
           {storage::Error::kInternal, scsi::kInternalFailure},
           {storage::Error::kOutOfRange, scsi::kLbaOutOfRange},
           {storage::Error::kNotReady, scsi::kNotReady},
           {storage::Error::kInaccessible, scsi::kPortUnavailable}}) {
    memory.error = error;
    Counted write;
    EXPECT_TRUE(write.start(store, plan(Plan::Kind::kWrite, 0, 1), pieces(data)));
    EXPECT_EQ(write.status(), Status::kCheckCondition);
    EXPECT_EQ(write.sense(), sense);
    EXPECT_TRUE(store.gate.empty());
  }
}

TEST_F(ExecutionTest, VerifyComparesAcrossChunksAndReportsTheOffset) {
  std::vector<uint8_t> data(300 * kBlock, 0xdd);
  Plan planned = plan(Plan::Kind::kVerify, 0, 300);
  planned.compare = true;
  Counted same, other;
  EXPECT_TRUE(same.start(store, planned, pieces(data)));
  EXPECT_EQ(same.status(), Status::kGood);
  EXPECT_EQ(memory.log.size(), 3u);  // 150 KiB through 64 KiB
  data[200 * kBlock + 7] = 0;
  EXPECT_TRUE(other.start(store, planned, pieces(data)));
  EXPECT_TRUE(other.sense().same_code(scsi::kMiscompare));
  EXPECT_EQ(other.sense().information, 200u * kBlock + 7);
}

TEST_F(ExecutionTest, VerifyWithoutDataReadsTheMedium) {
  Counted verify;
  EXPECT_TRUE(verify.start(store, plan(Plan::Kind::kVerify, 0, 4), {}));
  EXPECT_EQ(memory.log, std::vector<storage::Op>{storage::Op::kRead});
}

TEST_F(ExecutionTest, WriteAndVerifyReadsBack) {
  std::vector<uint8_t> data(2 * kBlock, 0x22);
  Plan planned = plan(Plan::Kind::kWriteAndVerify, 1, 2);
  planned.compare = true;
  Counted run;
  EXPECT_TRUE(run.start(store, planned, pieces(data)));
  EXPECT_EQ(run.status(), Status::kGood);
  EXPECT_EQ(memory.log, (std::vector{storage::Op::kWrite, storage::Op::kRead}));
}

TEST_F(ExecutionTest, CompareAndWriteWritesOnlyOnAMatch) {
  std::vector<uint8_t> data(4 * kBlock, 0xdd);
  std::memset(&data[2 * kBlock], 0x33, 2 * kBlock);
  Counted match, miss;
  EXPECT_TRUE(match.start(store, plan(Plan::Kind::kCompareAndWrite, 9, 2), pieces(data)));
  EXPECT_EQ(match.status(), Status::kGood);
  EXPECT_EQ(memory.bytes[9 * kBlock], 0x33);
  EXPECT_EQ(memory.bytes[11 * kBlock - 1], 0x33);
  EXPECT_EQ(memory.bytes[11 * kBlock], 0xdd);
  EXPECT_TRUE(miss.start(store, plan(Plan::Kind::kCompareAndWrite, 10, 2), pieces(data)));
  EXPECT_TRUE(miss.sense().same_code(scsi::kMiscompare));
  EXPECT_EQ(miss.sense().information, 0u);
  EXPECT_EQ(memory.bytes[11 * kBlock], 0xdd);
}

TEST_F(ExecutionTest, ACompareAndWriteWaitsForEarlierWritesAndHoldsLaterOnes) {
  memory.later = true;
  std::vector<uint8_t> first(kBlock, 0x44), both(2 * kBlock, 0x44), last(kBlock, 0x66);
  std::memset(&both[kBlock], 0x55, kBlock);
  const auto first_pieces = pieces(first), both_pieces = pieces(both), last_pieces = pieces(last);
  Counted write, compare, later_write, elsewhere;
  EXPECT_FALSE(write.start(store, plan(Plan::Kind::kWrite, 3, 1), first_pieces));
  EXPECT_FALSE(compare.start(store, plan(Plan::Kind::kCompareAndWrite, 3, 1), both_pieces));
  EXPECT_FALSE(later_write.start(store, plan(Plan::Kind::kWrite, 3, 1), last_pieces));
  EXPECT_FALSE(elsewhere.start(store, plan(Plan::Kind::kWrite, 4, 1), last_pieces));
  EXPECT_EQ(memory.queue.size(), 2u);  // the first write and the one elsewhere
  while (!memory.queue.empty()) {
    memory.step();
    reactor.poll();  // grants
  }
  EXPECT_EQ(write.calls, 1);
  EXPECT_EQ(compare.calls, 1);
  EXPECT_EQ(compare.status(), Status::kGood);  // it saw the first write
  EXPECT_EQ(later_write.calls, 1);
  EXPECT_EQ(memory.bytes[3 * kBlock], 0x66);  // and the later one came after it
  EXPECT_TRUE(store.gate.empty());
}

TEST_F(ExecutionTest, WriteSameRepeatsItsBlock) {
  std::vector<uint8_t> block(kBlock);
  for (size_t i = 0; i < block.size(); ++i) block[i] = uint8_t(i * 7 + 1);
  Counted run;
  EXPECT_TRUE(run.start(store, plan(Plan::Kind::kWriteSame, 2, 200), pieces(block)));
  for (uint64_t lba = 2; lba < 202; ++lba) {
    EXPECT_EQ(std::memcmp(&memory.bytes[lba * kBlock], block.data(), kBlock), 0);
  }
  EXPECT_EQ(memory.bytes[202 * kBlock], 0xdd);
}

TEST_F(ExecutionTest, WriteSameOfZeroesNeedsNoPattern) {
  std::vector<uint8_t> block(kBlock);
  Plan planned = plan(Plan::Kind::kWriteSame, 2, 200);
  planned.deallocate = true;
  Counted run;
  EXPECT_TRUE(run.start(store, planned, pieces(block)));
  EXPECT_EQ(memory.log, std::vector<storage::Op>{storage::Op::kWriteZeroes});
  EXPECT_TRUE(memory.deallocated);
  EXPECT_EQ(memory.bytes[2 * kBlock], 0);
}

TEST_F(ExecutionTest, UnmapGoesThroughItsRanges) {
  const std::vector<scsi::Range> ranges = {{1, 2}, {10, 5}};
  Counted run;
  EXPECT_TRUE(run.start(store, {.kind = Plan::Kind::kUnmap}, {}, ranges));
  EXPECT_EQ(memory.log.size(), 2u);
  EXPECT_TRUE(memory.deallocated);
  EXPECT_EQ(memory.bytes[14 * kBlock], 0);
  EXPECT_EQ(memory.bytes[15 * kBlock], 0xdd);
}

TEST_F(ExecutionTest, FlushIsAFlush) {
  Counted run;
  EXPECT_TRUE(run.start(store, {.kind = Plan::Kind::kFlush}, {}));
  EXPECT_EQ(memory.log, std::vector<storage::Op>{storage::Op::kFlush});
}

class MarkedBlocks : public ExecutionTest {
 protected:
  ~MarkedBlocks() override { std::filesystem::remove(file); }
  Sense sense_of(const Plan& planned, std::vector<iovec> data,
                 std::span<const scsi::Range> ranges = {}) {
    Counted execution;
    EXPECT_TRUE(execution.start(store, planned, data, ranges));
    EXPECT_TRUE(store.gate.empty());
    return execution.sense();
  }
  void mark(uint64_t lba, uint64_t blocks) {
    EXPECT_EQ(sense_of(plan(Plan::Kind::kMark, lba, blocks), {}), scsi::kNoSense);
  }
  bool marked(uint64_t lba, uint64_t blocks = 1) const {
    return volume->bad_blocks().first_in(lba * kBlock, blocks * kBlock).has_value();
  }
  Sense bad(uint64_t lba) {
    Sense sense = scsi::kReadError;
    sense.information = lba;
    return sense;
  }

  const std::string file = testing::TempDir() + "/execution_test_marks";
  std::vector<uint8_t> data = std::vector<uint8_t>(16 * kBlock, 0x11);
};

TEST_F(MarkedBlocks, WhatReadsFailsAndNamesTheFirstBlock) {
  mark(7, 2);
  EXPECT_TRUE(memory.log.empty());
  EXPECT_EQ(sense_of(plan(Plan::Kind::kRead, 0, 16), pieces(data)), bad(7));
  EXPECT_EQ(sense_of(plan(Plan::Kind::kRead, 8, 1), pieces(data)), bad(8));
  EXPECT_EQ(sense_of(plan(Plan::Kind::kVerify, 0, 300), {}), bad(7));
  EXPECT_EQ(sense_of(plan(Plan::Kind::kCompareAndWrite, 7, 1), pieces(data)), bad(7));
  EXPECT_TRUE(marked(7));
  EXPECT_EQ(sense_of(plan(Plan::Kind::kRead, 0, 7), pieces(data)), scsi::kNoSense);
  EXPECT_EQ(sense_of(plan(Plan::Kind::kFlush, 0, 0), {}), scsi::kNoSense);
}

TEST_F(MarkedBlocks, WhatWritesRemovesTheMarks) {
  mark(0, 64);
  EXPECT_EQ(sense_of(plan(Plan::Kind::kWrite, 1, 2), pieces(data)), scsi::kNoSense);
  EXPECT_EQ(sense_of(plan(Plan::Kind::kWriteSame, 4, 2), pieces(data)), scsi::kNoSense);
  EXPECT_EQ(sense_of(plan(Plan::Kind::kZero, 7, 1), {}), scsi::kNoSense);
  EXPECT_EQ(sense_of(plan(Plan::Kind::kWriteAndVerify, 9, 1), pieces(data)), scsi::kNoSense);
  const scsi::Range ranges[] = {{11, 1}, {13, 2}};
  EXPECT_EQ(sense_of(plan(Plan::Kind::kUnmap, 0, 0), {}, ranges), scsi::kNoSense);
  for (const uint64_t lba : {1, 2, 4, 5, 7, 9, 11, 13, 14}) EXPECT_FALSE(marked(lba)) << lba;
  for (const uint64_t lba : {0, 3, 6, 8, 10, 12, 15, 63}) EXPECT_TRUE(marked(lba)) << lba;
  memory.error = storage::Error::kMediaWrite;
  EXPECT_EQ(sense_of(plan(Plan::Kind::kWrite, 0, 1), pieces(data)), scsi::kWriteError);
  EXPECT_TRUE(marked(0));
}

// Changes of marks that are kept end later, on the worker.
TEST_F(MarkedBlocks, KeptMarks) {
  std::vector<std::function<void()>> jobs;
  store.change_marks = [&](auto change, auto done) {
    jobs.push_back([change, done] { done(change()); });
  };
  ASSERT_TRUE(volume->bad_blocks().keep_at(file).ok());
  Counted set, write;
  EXPECT_FALSE(set.start(store, plan(Plan::Kind::kMark, 3, 1), {}));
  EXPECT_FALSE(set.take_back());
  EXPECT_FALSE(marked(3));
  jobs[0]();
  EXPECT_EQ(set.calls, 1);
  EXPECT_EQ(set.status(), Status::kGood);
  EXPECT_TRUE(marked(3));
  memory.later = true;
  const auto vectors = pieces(data);
  EXPECT_FALSE(write.start(store, plan(Plan::Kind::kWrite, 0, 16), vectors));
  memory.step();
  EXPECT_EQ(write.calls, 0);
  EXPECT_TRUE(marked(3));
  // Its initiator has given up: its blocks are locked until the mark is gone.
  write.give_up();
  EXPECT_TRUE(late.any());
  jobs[1]();
  EXPECT_EQ(write.calls, 1);
  EXPECT_FALSE(marked(3));
  EXPECT_FALSE(late.any());
  EXPECT_TRUE(store.gate.empty());
}

}  // namespace
}  // namespace mrpool::iser_target
