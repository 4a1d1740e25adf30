#include "examples/load/workload.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <deque>
#include <functional>
#include <set>
#include <vector>

namespace mrpool::load {
namespace {

using std::chrono_literals::operator""h;
using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;
using std::chrono_literals::operator""us;

// A disk in memory that completes I/Os out of order, with the faults a test asks for.
class Bench {
 public:
  explicit Bench(const Options& options)
      : options_(options),
        disk_(options.range.offset + options.range.size),
        workload_(options, 0, 99, progress_),
        random_(options.randseed) {
    workload_.start(now_);
  }

  // Runs to the end; returns how many I/Os were done.
  size_t run(size_t limit = 100'000) {
    size_t done = 0;
    while (done < limit) {
      Op op{.io = {}, .data = std::vector<std::byte>(options_.bs)};
      Workload::Next next = Workload::Next::kWait;
      if (ops_.size() < options_.iodepth) next = workload_.next(now_, op.io, op.data);
      if (next == Workload::Next::kIo) {
        ops_.push_back(std::move(op));
        continue;
      }
      if (next == Workload::Next::kLater) now_ = workload_.next_due();
      if (ops_.empty()) {
        if (next == Workload::Next::kDone) break;
        continue;
      }
      finish(random_.below(ops_.size()));
      ++done;
    }
    return done;
  }

  std::function<void(const Io&, std::vector<std::byte>&)> on_read = [](auto&, auto&) {};
  std::function<bool(const Io&)> lose_write = [](auto&) { return false; };
  std::function<bool(const Io&)> fail = [](auto&) { return false; };
  const JobStats& stats() const { return workload_.stats(); }
  Workload& workload() { return workload_; }
  std::vector<Io> finished;
  std::chrono::nanoseconds now_{1s};

 private:
  struct Op {
    Io io;
    std::vector<std::byte> data;
  };
  void finish(size_t index) {
    Op op = std::move(ops_[index]);
    ops_.erase(ops_.begin() + ptrdiff_t(index));
    now_ += 10us;
    std::string error;
    if (fail(op.io)) {
      error = "injected";
    } else if (op.io.direction == Direction::kRead) {
      std::memcpy(op.data.data(), disk_.data() + op.io.offset, op.data.size());
      on_read(op.io, op.data);
    } else if (!lose_write(op.io)) {
      std::memcpy(disk_.data() + op.io.offset, op.data.data(), op.data.size());
    }
    workload_.completed(op.io, now_, op.data, error);
    finished.push_back(op.io);
  }

  Options options_;
  std::vector<std::byte> disk_;
  Progress progress_;
  Workload workload_;
  Random random_;
  std::deque<Op> ops_;
};

Options options_of(Pattern rw, bool verify) {
  Options o;
  o.rw = rw;
  o.bs = 512;
  o.iodepth = 8;
  o.range.size = 64 * 512;
  o.verify = verify;
  o.randseed = 42;
  return o;
}

TEST(Workload, OnePassTouchesEverySequentialBlockOnce) {
  Options o = options_of(Pattern::kRead, false);
  o.range.offset = 4096;
  Bench bench(o);
  EXPECT_EQ(bench.run(), 64u);
  std::set<uint64_t> offsets;
  for (const Io& io : bench.finished) offsets.insert(io.offset);
  EXPECT_EQ(offsets.size(), 64u);
  EXPECT_EQ(*offsets.begin(), 4096u);
  EXPECT_EQ(bench.stats().direction[0].ios, 64u);
}

TEST(Workload, OnePassTouchesEveryRandomBlockOnce) {
  for (const uint64_t blocks : {1, 2, 3, 63, 64, 65, 1000}) {
    for (const bool verify : {false, true}) {
      Options o = options_of(Pattern::kRandWrite, verify);
      o.range.size = blocks * 512;
      Bench bench(o);
      bench.run();
      std::set<uint64_t> offsets;
      std::vector<uint64_t> order;
      for (const Io& io : bench.finished) {
        if (io.read_back) continue;
        offsets.insert(io.offset);
        order.push_back(io.offset);
      }
      EXPECT_EQ(order.size(), blocks);
      EXPECT_EQ(offsets.size(), blocks);
      EXPECT_TRUE(blocks < 63 || !std::ranges::is_sorted(order));
    }
  }
}

TEST(Workload, WithoutAMapOffsetsComeTwice) {
  Options o = options_of(Pattern::kRandRead, false);
  o.norandommap = true;
  Bench bench(o);
  EXPECT_EQ(bench.run(), 64u);
  std::set<uint64_t> offsets;
  for (const Io& io : bench.finished) offsets.insert(io.offset);
  EXPECT_LT(offsets.size(), 64u);
}

TEST(Workload, EachPassHasAnotherOrder) {
  Options o = options_of(Pattern::kRandRead, false);
  o.iodepth = 1;
  o.runtime = 1280us;  // two passes
  o.time_based = true;
  Bench bench(o);
  ASSERT_EQ(bench.run(), 128u);
  std::vector<uint64_t> first, second;
  for (size_t i = 0; i < 128; ++i) (i < 64 ? first : second).push_back(bench.finished[i].offset);
  EXPECT_NE(first, second);
  std::ranges::sort(first);
  std::ranges::sort(second);
  EXPECT_EQ(first, second);
}

TEST(Workload, RuntimeIsALimitAndTimeBasedAGoal) {
  Options o = options_of(Pattern::kRead, false);
  o.runtime = 1h;
  EXPECT_EQ(Bench(o).run(), 64u);
  o.runtime = 100us;
  EXPECT_LT(Bench(o).run(), 64u);
}

TEST(Workload, TimedRunEndsAtItsTime) {
  Options o = options_of(Pattern::kRandRead, false);
  o.runtime = 10ms;
  o.time_based = true;
  Bench bench(o);
  const size_t done = bench.run();
  EXPECT_NEAR(double(done), 1000, 10);
  EXPECT_LE(bench.stats().runtime, 10ms + 8 * 10us);
}

TEST(Workload, RampTimeIsNotMeasured) {
  Options o = options_of(Pattern::kRandRead, false);
  o.runtime = 10ms;
  o.time_based = true;
  o.ramp_time = 10ms;
  Bench bench(o);
  EXPECT_NEAR(double(bench.run()), 2000, 10);
  EXPECT_NEAR(double(bench.stats().direction[0].ios), 1000, 10);
}

TEST(Workload, MixFollowsThePercentage) {
  Options o = options_of(Pattern::kRandRw, false);
  o.rwmixread = 80;
  o.runtime = 100ms;
  o.time_based = true;
  Bench bench(o);
  bench.run();
  const auto& d = bench.stats().direction;
  EXPECT_NEAR(double(d[0].ios) / double(d[0].ios + d[1].ios), 0.8, 0.02);
}

TEST(Workload, RateIsKept) {
  Options o = options_of(Pattern::kRandRead, false);
  o.rate_iops = 1000;
  o.runtime = 500ms;
  o.time_based = true;
  Bench bench(o);
  EXPECT_NEAR(double(bench.run()), 500, 5);
}

class VerifiedWorkload : public testing::TestWithParam<Pattern> {};

TEST_P(VerifiedWorkload, AHonestDiskHasNoErrorsAndEveryWriteIsReadBack) {
  Options o = options_of(GetParam(), true);
  o.runtime = 50ms;
  o.time_based = true;
  Bench bench(o);
  bench.run();
  EXPECT_EQ(bench.stats().verify_errors, 0u) << bench.stats().first_error;
  EXPECT_TRUE(bench.workload().done());
  std::set<uint64_t> written;
  std::set<uint64_t> read_back;
  for (const Io& io : bench.finished) {
    if (io.direction == Direction::kWrite) written.insert(io.block);
    if (io.read_back) read_back.insert(io.block);
  }
  EXPECT_FALSE(written.empty());
  EXPECT_EQ(written, read_back);
}

TEST_P(VerifiedWorkload, OneLostWriteIsCaught) {
  Options o = options_of(GetParam(), true);
  o.runtime = 50ms;
  o.time_based = true;
  Bench bench(o);
  // The last write of some block: every earlier one would be overwritten unseen where nothing
  // reads.
  uint64_t writes = 0;
  bench.lose_write = [&](const Io& io) { return io.block == 7 && ++writes > 3; };
  bench.run();
  EXPECT_GT(bench.stats().verify_errors, 0u);
  EXPECT_THAT(bench.stats().first_error, testing::HasSubstr("stale"));
}

TEST_P(VerifiedWorkload, AFailedWriteMakesNoClaimAboutTheBlock) {
  Options o = options_of(GetParam(), true);
  o.runtime = 50ms;
  o.time_based = true;
  Bench bench(o);
  uint64_t n = 0;
  bench.fail = [&](const Io& io) { return io.direction == Direction::kWrite && ++n % 10 == 0; };
  bench.run();
  EXPECT_GT(bench.stats().io_errors, 0u);
  EXPECT_EQ(bench.stats().verify_errors, 0u) << bench.stats().first_error;
}

INSTANTIATE_TEST_SUITE_P(Patterns, VerifiedWorkload,
                         testing::Values(Pattern::kWrite, Pattern::kRandWrite, Pattern::kReadWrite,
                                         Pattern::kRandRw),
                         [](const auto& p) { return std::string(to_string(p.param)); });

TEST(Workload, OneFlippedBitInAReadIsCaught) {
  Options o = options_of(Pattern::kRandRw, true);
  o.runtime = 50ms;
  o.time_based = true;
  Bench bench(o);
  bool flipped = false;
  bench.on_read = [&](const Io& io, std::vector<std::byte>& data) {
    if (!io.read_back || flipped) return;
    flipped = true;
    data[300] ^= std::byte{4};
  };
  bench.run();
  EXPECT_EQ(bench.stats().verify_errors, 1u);
  EXPECT_THAT(bench.stats().first_error, testing::HasSubstr("damaged"));
}

TEST(Workload, ARegionSmallerThanTheDepthStillMoves) {
  Options o = options_of(Pattern::kRandRw, true);
  o.range.size = 2 * 512;
  o.iodepth = 16;
  o.runtime = 5ms;
  o.time_based = true;
  Bench bench(o);
  EXPECT_GT(bench.run(), 100u);
  EXPECT_EQ(bench.stats().verify_errors, 0u) << bench.stats().first_error;
}

TEST(Workload, StopDrainsAndReadsBack) {
  Options o = options_of(Pattern::kRandWrite, true);
  o.runtime = 1h;
  o.time_based = true;
  Bench bench(o);
  bench.run(100);
  bench.workload().stop();
  bench.run();
  EXPECT_TRUE(bench.workload().done());
  EXPECT_GT(bench.stats().verified, 0u);
  EXPECT_EQ(bench.stats().verify_errors, 0u);
}

}  // namespace
}  // namespace mrpool::load
