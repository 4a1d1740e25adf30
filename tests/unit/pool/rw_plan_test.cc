#include "pool/rw_plan.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "tests/unit/pool/fake_device.h"

namespace mrpool {
namespace {

using testing::fake_caps;

DeviceCaps iwarp_caps() {
  DeviceCaps caps = fake_caps();
  caps.iwarp = true;
  caps.read_sink_needs_remote_write = true;
  return caps;
}

TEST(RwShape, SinksNeedAKeyOnlyWhereThePeerWritesThem) {
  const RwLimits limits;
  RwShape shape = rw_shape(iwarp_caps(), limits, RwDirection::kRead);
  EXPECT_TRUE(shape.through_mr);
  EXPECT_TRUE(shape.ends_itself);
  EXPECT_EQ(shape.mr_access, Access::kLocalWrite | Access::kRemoteWrite);
  EXPECT_EQ(shape.slots(), 2u);
  shape = rw_shape(iwarp_caps(), limits, RwDirection::kWrite);
  EXPECT_FALSE(shape.through_mr);
  EXPECT_EQ(shape.mr_access, Access::kNone);
  EXPECT_EQ(shape.slots(), 1u);
  EXPECT_FALSE(rw_shape(fake_caps(), limits, RwDirection::kRead).through_mr);
}

TEST(RwShape, InvalidationTakesASlotWhereTheReadDoesNotDoIt) {
  DeviceCaps caps = iwarp_caps();
  caps.read_with_inv = false;
  EXPECT_EQ(rw_shape(caps, {}, RwDirection::kRead).slots(), 3u);
}

TEST(RwShape, ForcedRegistrationGivesNoRightTooMany) {
  const RwLimits limits{.force_mr = true};
  RwShape shape = rw_shape(fake_caps(), limits, RwDirection::kRead);
  EXPECT_EQ(shape.mr_access, Access::kLocalWrite);
  shape = rw_shape(fake_caps(), limits, RwDirection::kWrite);
  EXPECT_TRUE(shape.registers);
  EXPECT_FALSE(shape.ends_itself);
  EXPECT_EQ(shape.mr_access, Access::kNone);
  EXPECT_EQ(shape.slots(), 3u);
}

TEST(RwShape, CountsStepsAtWorst) {
  DeviceCaps caps = fake_caps();
  caps.max_read_sge = 1;
  EXPECT_EQ(rw_shape(caps, {.max_segments = 16}, RwDirection::kRead).max_steps, 16u);
  caps.max_message = 1 << 18;
  EXPECT_EQ(
      rw_shape(caps, {.max_transfer = 1 << 20, .max_segments = 16}, RwDirection::kRead).max_steps,
      19u);
  caps = iwarp_caps();
  EXPECT_EQ(rw_shape(caps, {.max_segments = 16}, RwDirection::kRead).max_steps, 1u);
  caps.sg_gaps = false;
  EXPECT_EQ(rw_shape(caps, {.max_segments = 16}, RwDirection::kRead).max_steps, 16u);
  EXPECT_EQ(rw_shape(fake_caps(), {.max_segments = 0}, RwDirection::kRead).max_steps, 1u);
}

TEST(RwCursor, IsAViewWhereNothingIsCut) {
  std::byte memory[64];
  const Sge local[] = {{memory, 16, Lkey{1}}, {memory + 32, 16, Lkey{2}}};
  Sge scratch[2];
  RwCursor cursor(SegmentIterator(local), RemoteAddr{1000}, 32);
  EXPECT_EQ(cursor.peek(4, 1000, scratch).data(), local);
  EXPECT_EQ(cursor.peek(1, 1000, scratch).size(), 1u);
  cursor.advance(16);
  EXPECT_EQ(cursor.peek(4, 1000, scratch).data(), local + 1);
  EXPECT_EQ(cursor.remote().value, 1016u);
  cursor.advance(16);
  EXPECT_TRUE(cursor.done());
  EXPECT_TRUE(cursor.peek(4, 1000, scratch).empty());
}

TEST(RwCursor, StopsAtTheTransfersEnd) {
  std::byte memory[64];
  const Sge local[] = {{memory, 64, Lkey{1}}};
  Sge scratch[1];
  const RwCursor cursor(SegmentIterator(local), RemoteAddr{0}, 10);
  const auto run = cursor.peek(1, 1000, scratch);
  ASSERT_EQ(run.size(), 1u);
  EXPECT_EQ(run[0].length, 10u);
}

// Whatever the limits, the steps cover the transfer, in order, once, within the limits and within
// the promised number.
TEST(RwCursor, StepsCoverEveryByteOnce) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937_64 rng(seed);
  std::vector<std::byte> memory(1 << 16);
  for (int round = 0; round < 5000; ++round) {
    RwLimits limits;
    limits.max_segments = 1 + rng() % 20;
    DeviceCaps caps = fake_caps();
    caps.max_sge = 1 + rng() % 6;
    caps.max_message = 1 + rng() % 3000;
    std::vector<Sge> local(1 + rng() % limits.max_segments);
    uint64_t total = 0;
    for (Sge& sge : local) {
      sge = {memory.data() + rng() % 60000, uint32_t(1 + rng() % 1500), Lkey{uint32_t(rng())}};
      total += sge.length;
    }
    const uint64_t length = 1 + rng() % total;
    limits.max_transfer = uint32_t(length);
    const RwShape shape = rw_shape(caps, limits, RwDirection::kWrite);

    std::vector<std::pair<const std::byte*, uint32_t>> expected;  // byte by byte
    for (const Sge& sge : local) {
      for (uint32_t i = 0; i < sge.length && expected.size() < length; ++i) {
        expected.emplace_back(sge.addr + i, sge.lkey.value);
      }
    }
    std::vector<Sge> scratch(limits.max_segments);
    RwCursor cursor(SegmentIterator(local), RemoteAddr{5000}, length);
    size_t at = 0;
    uint32_t steps = 0;
    while (!cursor.done()) {
      ASSERT_EQ(cursor.remote().value, 5000 + at);
      const auto run = cursor.peek(shape.max_sge, shape.max_bytes, scratch);
      ASSERT_FALSE(run.empty());
      ASSERT_LE(run.size(), caps.max_sge);
      ASSERT_LE(total_length(run), caps.max_message);
      for (const Sge& sge : run) {
        for (uint32_t i = 0; i < sge.length; ++i, ++at) {
          ASSERT_EQ(expected[at],
                    std::pair(static_cast<const std::byte*>(sge.addr + i), sge.lkey.value));
        }
      }
      cursor.advance(total_length(run));
      ++steps;
    }
    ASSERT_EQ(at, length);
    ASSERT_LE(steps, shape.max_steps);
  }
}

TEST(RwTransferNeeds, CountRequestsSlotsAndMrs) {
  const RwLimits limits{.max_segments = 64};
  // Four Sges each.
  RwTransferNeeds needs =
      rw_transfer_needs(fake_caps(), limits, RwDirection::kWrite, 40 * 4096, 40);
  EXPECT_EQ(needs.requests, 10u);
  EXPECT_EQ(needs.work_requests, 10u);
  EXPECT_EQ(needs.mrs, 0u);
  // One MR for all: kRegMr and a READ that ends the key.
  needs = rw_transfer_needs(iwarp_caps(), limits, RwDirection::kRead, 40 * 4096, 40);
  EXPECT_EQ(needs.requests, 1u);
  EXPECT_EQ(needs.work_requests, 2u);
  EXPECT_EQ(needs.mrs, 1u);
  // Without gaps one segment each, followed by kLocalInv.
  DeviceCaps caps = iwarp_caps();
  caps.sg_gaps = caps.read_with_inv = false;
  needs = rw_transfer_needs(caps, limits, RwDirection::kRead, 40 * 4096, 40);
  EXPECT_EQ(needs.requests, 40u);
  EXPECT_EQ(needs.work_requests, 120u);
  EXPECT_EQ(needs.mrs, 40u);
  // Longer than any message, and nothing at all.
  caps = fake_caps();
  caps.max_message = 1 << 20;
  EXPECT_EQ(rw_transfer_needs(caps, limits, RwDirection::kWrite, 1ull << 40, 1).requests, 1u << 20);
  needs = rw_transfer_needs(iwarp_caps(), limits, RwDirection::kRead, 0, 0);
  EXPECT_EQ(needs.requests, 1u);
  EXPECT_EQ(needs.mrs, 0u);
}

TEST(RwQueueNeeds, AddUp) {
  // Plain: one request per operation, READs bounded by the credits.
  RwLimits limits{.max_operations = 10, .max_segments = 4};
  RwQueueNeeds needs = rw_queue_needs(fake_caps(), limits);
  EXPECT_EQ(needs.send_wr, 10u);
  EXPECT_EQ(needs.send_sge, 4u);
  EXPECT_EQ(needs.pool_mrs, 0u);
  EXPECT_EQ(needs.pool_access, Access::kNone);
  EXPECT_EQ(needs.sink_access, Access::kLocalWrite);
  // iWARP: kRegMr + READ for each READ, one MR each.
  needs = rw_queue_needs(iwarp_caps(), limits);
  EXPECT_EQ(needs.send_wr, 20u);
  EXPECT_EQ(needs.pool_mrs, 10u);
  EXPECT_EQ(needs.pool_segments, 4u);
  EXPECT_EQ(needs.pool_access, Access::kLocalWrite | Access::kRemoteWrite);
  EXPECT_EQ(needs.sink_access, Access::kLocalWrite);  // the key of each READ has the rest

  // iWARP with nothing but the region's own key.
  DeviceCaps plain = iwarp_caps();
  plain.registration = Registration::kPreRegistered;
  EXPECT_EQ(rw_queue_needs(plain, limits).sink_access, Access::kLocalWrite | Access::kRemoteWrite);
  EXPECT_EQ(rw_queue_needs(plain, limits).pool_mrs, 0u);
  // 16 credits: 16 operations read, 84 write meanwhile.
  limits.max_operations = 100;
  EXPECT_EQ(rw_queue_needs(iwarp_caps(), limits).send_wr, 16u * 2 + 84);
  EXPECT_EQ(rw_queue_needs(iwarp_caps(), limits).pool_mrs, 16u);
  // Never more than the device has, never less than one step.
  limits.max_operations = 100000;
  EXPECT_EQ(rw_queue_needs(fake_caps(), limits).send_wr, fake_caps().max_qp_wr);
  DeviceCaps tiny = iwarp_caps();
  tiny.max_qp_wr = 1;
  EXPECT_EQ(rw_queue_needs(tiny, limits).send_wr, 2u);
}

}  // namespace
}  // namespace mrpool
