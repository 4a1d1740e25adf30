// Transfers that start inside a scatter list that is longer than they are.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <utility>
#include <vector>

#include "tests/unit/pool/rw_fixture.h"

namespace mrpool {
namespace {

// A Qp and a context; every byte that requests name is recorded in order.
class Transfers {
 public:
  Transfers(const DeviceCaps& caps, const RwLimits& limits)
      : pd_(caps), qp_(pd_, reactor_, rw_queue_needs(caps, limits).send_wr, caps.max_ord) {
    const RwQueueNeeds needs = rw_queue_needs(caps, limits);
    if (needs.pool_mrs > 0) {
      pool_ = *MrPool::create(pd_, {.count = std::min(needs.pool_mrs, caps.max_mr),
                                    .type = MrPoolType::kSgGaps,
                                    .max_segments = needs.pool_segments,
                                    .access = needs.pool_access});
    }
    context_ = *RwContext::create(qp_, pool_.get(), limits);
  }

  PostStatus start(Op& op, RwDirection direction, const SegmentIterator& local, uint64_t length) {
    return context_->start(op, direction, local, {RemoteAddr{0x1000}, length, Rkey{77}});
  }
  // Completes everything, and adds up what was posted.
  void drain() {
    do {
      take_posted();
      if (!qp_.outstanding.empty()) qp_.complete();
    } while (!qp_.outstanding.empty() || reactor_.poll() > 0);
    take_posted();
  }

  uint64_t requests = 0;
  uint64_t work_requests = 0;
  uint64_t mrs = 0;
  std::vector<std::byte*> bytes;

 private:
  void take_posted() {
    for (; seen_ < qp_.history.size(); ++seen_) {
      const testing::PostedRequest& posted = qp_.history[seen_];
      ++work_requests;
      if (posted.wr.opcode == Opcode::kRegMr) {
        ++mrs;
        add(static_cast<testing::FakeFastMr*>(posted.wr.mr)->segments());
        continue;
      }
      if (posted.wr.opcode == Opcode::kLocalInv) continue;
      ++requests;
      if (requests > mrs) add(posted.sges);
    }
  }
  void add(const std::vector<Sge>& sges) {
    for (const Sge& sge : sges) {
      for (uint32_t i = 0; i < sge.length; ++i) bytes.push_back(sge.addr + i);
    }
  }

  FakePd pd_;
  FakeReactor reactor_;
  FakeQp qp_;
  std::unique_ptr<MrPool> pool_;
  std::unique_ptr<RwContext> context_;
  size_t seen_ = 0;
};

std::byte memory[1 << 16];

TEST(RwVector, ManyTransfersShareOneVector) {
  std::vector<iovec> vector;
  for (size_t i = 0; i < 1000; ++i) vector.push_back({memory + 64 * i, 10});
  Transfers transfers(fake_caps(), {.max_segments = 8});
  SegmentIterator at(vector, Lkey{9}, 3);
  Op ops[100];
  for (Op& op : ops) {
    ASSERT_EQ(transfers.start(op, RwDirection::kWrite, at, 70), PostStatus::kOk);
    at.advance(70);
  }
  transfers.drain();
  ASSERT_EQ(transfers.bytes.size(), 7000u);
  for (size_t i = 0; i < 7000; ++i) {
    ASSERT_EQ(transfers.bytes[i], memory + 64 * ((i + 3) / 10) + (i + 3) % 10);
  }
  for (const Op& op : ops) EXPECT_EQ(op.times, 1);
}

TEST(RwVector, ShortTransfersNeedTheirListOnlyAtTheStart) {
  // One Sge a request and one request at a time, so most of it is posted after the list has gone.
  DeviceCaps caps = fake_caps();
  caps.max_sge = 1;
  caps.max_qp_wr = 1;
  Transfers transfers(caps, {.max_operations = 1});
  Op op;
  {
    std::vector<iovec> vector(10, iovec{memory, 5});
    ASSERT_EQ(transfers.start(op, RwDirection::kWrite, SegmentIterator(vector, Lkey{9}, 2), 40),
              PostStatus::kOk);
    vector.assign(10, iovec{memory + 100, 5});
  }
  transfers.drain();
  EXPECT_EQ(op.times, 1);
  ASSERT_EQ(transfers.bytes.size(), 40u);
  EXPECT_TRUE(std::ranges::all_of(transfers.bytes, [](std::byte* p) { return p < memory + 5; }));
}

TEST(RwVector, LimitsCountWhatIsTouched) {
  const std::vector<iovec> vector(100, iovec{memory, 10});
  Transfers transfers(fake_caps(), {.max_transfer = 100, .max_segments = 3});
  const SegmentIterator at(vector, Lkey{9}, 5);
  Op op;
  EXPECT_EQ(transfers.start(op, RwDirection::kWrite, at, 26), PostStatus::kTooManySges);
  EXPECT_EQ(transfers.start(op, RwDirection::kWrite, at, 101), PostStatus::kTooLong);
  const SegmentIterator near_end(vector, Lkey{9}, 990);
  EXPECT_EQ(transfers.start(op, RwDirection::kWrite, near_end, 11), PostStatus::kBadSge);
  EXPECT_EQ(op.times, 0);
  EXPECT_EQ(transfers.start(op, RwDirection::kWrite, at, 25), PostStatus::kOk);
  transfers.drain();
  EXPECT_EQ(op.times, 1);
  EXPECT_EQ(transfers.bytes.size(), 25u);
}

DeviceCaps random_caps(std::mt19937_64& rng) {
  DeviceCaps caps = fake_caps();
  caps.iwarp = caps.read_sink_needs_remote_write = rng() % 2;
  caps.read_with_inv = rng() % 2;
  caps.max_sge = 1 + rng() % 4;
  caps.max_read_sge = 1 + rng() % 4;
  caps.max_message = 16 + rng() % 4000;
  caps.max_fast_reg_segments = 1 + rng() % 4;
  return caps;
}

// Every byte is moved once, in order, and no transfer takes more than was promised.
TEST(RwVector, NeedsHoldForEveryTransfer) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937_64 rng(seed);
  for (int round = 0; round < 1000; ++round) {
    const DeviceCaps caps = random_caps(rng);
    const RwLimits limits{.max_operations = 4, .max_segments = 60, .force_mr = rng() % 2 == 0};
    std::vector<iovec> vector(1 + rng() % 60);
    std::vector<std::byte*> expected;
    for (iovec& part : vector) {
      part = {memory + rng() % 60000, size_t(rng() % 200)};
      for (size_t i = 0; i < part.iov_len; ++i) {
        expected.push_back(static_cast<std::byte*>(part.iov_base) + i);
      }
    }
    if (expected.empty()) continue;
    const uint64_t offset = rng() % expected.size();
    const uint64_t length = 1 + rng() % (expected.size() - offset);
    const SegmentIterator at(vector, Lkey{9}, offset);
    const auto direction = rng() % 2 ? RwDirection::kRead : RwDirection::kWrite;
    Transfers transfers(caps, limits);
    Op op;
    ASSERT_EQ(transfers.start(op, direction, at, length), PostStatus::kOk);
    transfers.drain();
    ASSERT_EQ(op.times, 1);
    ASSERT_EQ(op.status, WcStatus::kSuccess);
    ASSERT_TRUE(std::equal(transfers.bytes.begin(), transfers.bytes.end(),
                           expected.begin() + ptrdiff_t(offset),
                           expected.begin() + ptrdiff_t(offset + length)));
    const RwTransferNeeds needs =
        rw_transfer_needs(caps, limits, direction, length, uint32_t(at.extent(length).segments));
    ASSERT_LE(transfers.requests, needs.requests);
    ASSERT_LE(transfers.work_requests, needs.work_requests);
    ASSERT_LE(transfers.mrs, needs.mrs);
  }
}

}  // namespace
}  // namespace mrpool
