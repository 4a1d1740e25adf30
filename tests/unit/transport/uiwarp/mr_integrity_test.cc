// Integrity MRs of uiwarp without a wire: what a registration may name, what ends under it, and
// when there is something to report.
#include "transport/uiwarp/mr_integrity.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <memory>
#include <vector>

#include "mrpool/mr_pool.h"
#include "tests/conformance/t10dif_reference.h"
#include "tests/unit/pool/fake_device.h"
#include "tests/unit/transport/uiwarp/sides.h"
#include "transport/uiwarp/fast_mr.h"
#include "transport/uiwarp/segment_arena.h"

namespace mrpool::uiwarp::testing {
namespace {

using Verdict = IntegrityReport::Verdict;
using enum IntegrityFlow;

constexpr uint32_t kBlocks = 4;
constexpr Access kSink = Access::kLocalWrite | Access::kRemoteWrite;
constexpr IntegrityDomain kSealed{.protection = true, .ref_tag = 5};
constexpr KeyUser kUser{.pd = 1, .qp = 2};

class MrWithIntegrity : public OneSide {
 protected:
  MrWithIntegrity() {
    device_caps_.max_fast_reg_segments = 8;
    device_caps_.max_integrity_blocks = kBlocks;
    device_caps_.max_message = 1 << 20;
    device_caps_.access.known = Access::kLocalWrite | Access::kRemoteWrite | Access::kRemoteRead;
    device_caps_.access.honoured = Access::kDisableRelaxedOrdering;
    tuples_mr_ = region(tuples_, Access::kLocalWrite);
    key_ = make({.blocks = kBlocks, .protection_segments = 2});
  }
  std::unique_ptr<UiwarpFastMr> make(const IntegrityCapacity& integrity) {
    auto made = UiwarpFastMr::create(*keys_, arena_, pd_, /*pd=*/1, device_caps_,
                                     {.max_segments = 4,
                                      .sg_gaps = true,
                                      .ceiling = kSink | Access::kRemoteRead,
                                      .integrity = integrity});
    EXPECT_TRUE(made.ok()) << made.status();
    return *std::move(made);
  }
  std::unique_ptr<UiwarpMr> region(std::span<std::byte> memory, Access access) {
    uint32_t stag = 0;
    KeySlot* const slot = keys_->allocate(stag);
    return std::make_unique<UiwarpMr>(*keys_, counters_, slot, stag, /*pd=*/1, memory,
                                      Granted{.requested = access, .effective = access});
  }
  std::span<std::byte> data() { return std::span(memory_).first(kBlocks * 512); }
  void seal() {
    const auto made = reference::tuples(kSealed, 512, data());
    std::memcpy(tuples_.data(), made.data(), made.size());
  }
  PostStatus map(IntegrityFlow flow, const IntegrityAttributes& attributes) {
    const Sge blocks[] = {mr_->sge(0, 700), mr_->sge(700, kBlocks * 512 - 700)};
    const Sge its = tuples_mr_ != nullptr ? tuples_mr_->sge(0, kBlocks * kTupleBytes) : lost_;
    return key_->map_integrity(
        flow, blocks, attributes.memory.protection ? std::span(&its, 1) : std::span<const Sge>(),
        attributes);
  }
  PostStatus enroll(Access access) {
    key_->advance_key();
    return key_->check_register(access, kUser);
  }
  // Mapped, registered, transferred by nobody, ended.
  void live_and_end(IntegrityFlow flow, const IntegrityAttributes& attributes) {
    ASSERT_EQ(map(flow, attributes), PostStatus::kOk);
    ASSERT_EQ(enroll(flow == kToWire ? Access::kRemoteRead : kSink), PostStatus::kOk);
    ASSERT_TRUE(key_->open());
    EXPECT_EQ(key_->check_integrity().verdict, Verdict::kUnchecked) << "it is live";
    key_->invalidate();
  }

  const IntegrityAttributes insert_{.wire = kSealed};
  const IntegrityAttributes strip_{.memory = kSealed};
  SegmentArena arena_;
  mrpool::testing::FakePd pd_;
  DeviceCaps device_caps_;
  std::vector<std::byte> tuples_ = std::vector<std::byte>(kBlocks * kTupleBytes);
  std::unique_ptr<UiwarpMr> tuples_mr_;
  Sge lost_{tuples_.data(), kBlocks* kTupleBytes, Lkey{0x1234}};
  std::unique_ptr<UiwarpFastMr> key_;
};

TEST_F(MrWithIntegrity, ReportsOnceAndOnlyWhatWasRegistered) {
  EXPECT_EQ(key_->check_integrity().verdict, Verdict::kUnchecked);
  seal();
  ASSERT_EQ(map(kToWire, strip_), PostStatus::kOk);
  EXPECT_EQ(key_->check_integrity().verdict, Verdict::kUnchecked);
  ASSERT_EQ(enroll(Access::kRemoteRead), PostStatus::kOk);
  EXPECT_EQ(key_->check_integrity().verdict, Verdict::kUnchecked) << "its turn has not come";
  ASSERT_TRUE(key_->open());
  key_->invalidate();
  EXPECT_EQ(key_->check_integrity().verdict, Verdict::kGood);
  EXPECT_EQ(key_->check_integrity().verdict, Verdict::kUnchecked);
}

TEST_F(MrWithIntegrity, AMappingIsRegisteredOnce) {
  live_and_end(kToWire, insert_);
  EXPECT_EQ(enroll(Access::kRemoteRead), PostStatus::kBadKey);
  live_and_end(kToWire, insert_);
  EXPECT_EQ(key_->check_integrity().verdict, Verdict::kGood);
}

TEST_F(MrWithIntegrity, ADroppedRegistrationLeavesItsMapping) {
  seal();
  ASSERT_EQ(map(kToWire, strip_), PostStatus::kOk);
  ASSERT_EQ(enroll(Access::kRemoteRead), PostStatus::kOk);
  EXPECT_EQ(map(kToWire, strip_), PostStatus::kBadKey) << "it may still come";
  key_->drop();
  ASSERT_EQ(enroll(Access::kRemoteRead), PostStatus::kOk);
  ASSERT_TRUE(key_->open());
  key_->invalidate();
  EXPECT_EQ(key_->check_integrity().verdict, Verdict::kGood);
}

TEST_F(MrWithIntegrity, ItAlsoMapsWithoutIntegrity) {
  ASSERT_EQ(map(kToWire, insert_), PostStatus::kOk);
  EXPECT_EQ(key_->length(), kBlocks * 520u);
  const Sge plain = mr_->sge(0, 100);
  ASSERT_EQ(key_->map({&plain, 1}), 1u);
  EXPECT_EQ(key_->length(), 100u);
  ASSERT_EQ(enroll(kSink), PostStatus::kOk);
  ASSERT_TRUE(key_->open());
  key_->invalidate();
  EXPECT_EQ(key_->check_integrity().verdict, Verdict::kUnchecked);
}

TEST_F(MrWithIntegrity, ARefusedMappingLeavesNothingToRegister) {
  ASSERT_EQ(map(kToWire, insert_), PostStatus::kOk);
  EXPECT_EQ(map(kToWire, {}), PostStatus::kBadIntegrity);
  EXPECT_EQ(enroll(Access::kRemoteRead), PostStatus::kBadKey);
  tuples_mr_.reset();
  EXPECT_EQ(map(kToWire, strip_), PostStatus::kBadSge);
  EXPECT_EQ(enroll(Access::kRemoteRead), PostStatus::kBadKey);
  device_caps_.max_message = kBlocks * 520 - 1;
  EXPECT_EQ(map(kToWire, insert_), PostStatus::kTooLong);
  EXPECT_EQ(enroll(Access::kRemoteRead), PostStatus::kBadKey);
  const auto without = make({});
  const Sge blocks = mr_->sge(0, 512);
  EXPECT_EQ(without->map_integrity(kToWire, {&blocks, 1}, {}, insert_), PostStatus::kUnsupported);
  EXPECT_EQ(without->check_integrity().verdict, Verdict::kUnchecked);
}

TEST_F(MrWithIntegrity, TheTuplesRegistrationCounts) {
  // Ended before the post, and between the post and its turn.
  ASSERT_EQ(map(kToWire, strip_), PostStatus::kOk);
  tuples_mr_.reset();
  EXPECT_EQ(enroll(Access::kRemoteRead), PostStatus::kBadKey);
  tuples_mr_ = region(tuples_, Access::kLocalWrite);
  ASSERT_EQ(map(kToWire, strip_), PostStatus::kOk);
  ASSERT_EQ(enroll(Access::kRemoteRead), PostStatus::kOk);
  tuples_mr_.reset();
  EXPECT_FALSE(key_->open());
  EXPECT_EQ(key_->check_integrity().verdict, Verdict::kUnchecked);
  // Its rights, where tuples are written.
  tuples_mr_ = region(tuples_, Access::kNone);
  ASSERT_EQ(map(kFromWire, strip_), PostStatus::kOk);
  EXPECT_EQ(enroll(kSink), PostStatus::kAccessDenied);
  EXPECT_EQ(key_->denied(kSink), Access::kLocalWrite);
  ASSERT_EQ(map(kToWire, strip_), PostStatus::kOk);
  EXPECT_EQ(enroll(Access::kRemoteRead), PostStatus::kOk);
  key_->drop();
  // Its ordering.
  tuples_mr_ = region(tuples_, Access::kLocalWrite | Access::kDisableRelaxedOrdering);
  ASSERT_EQ(map(kFromWire, strip_), PostStatus::kOk);
  ASSERT_EQ(enroll(kSink), PostStatus::kOk);
  ASSERT_TRUE(key_->open());
  KeyRange range;
  EXPECT_EQ(keys_->resolve_sink(key_->lkey().value, 0, 1, kSink, kUser, range), KeyError::kNone);
  EXPECT_FALSE(range.relaxed());
}

// What is gone is not looked at: neither the blocks nor their tuples.
TEST_F(MrWithIntegrity, MemoryThatIsGoneIsNotChecked) {
  live_and_end(kFromWire, insert_);
  mr_.reset();
  EXPECT_EQ(key_->check_integrity().verdict, Verdict::kUnchecked);
  mr_ = registered();
  live_and_end(kFromWire, strip_);
  tuples_mr_.reset();
  EXPECT_EQ(key_->check_integrity().verdict, Verdict::kUnchecked);
}

// On the way out all was read when the registration was carried out.
TEST_F(MrWithIntegrity, WhatWentOutWasCheckedBefore) {
  seal();
  tuples_[kTupleBytes + 7] ^= std::byte(1);
  live_and_end(kToWire, strip_);
  seal();
  tuples_mr_.reset();
  const IntegrityReport report = key_->check_integrity();
  EXPECT_EQ(report.verdict, Verdict::kBad);
  EXPECT_EQ(report.error, (IntegrityError{IntegrityField::kRefTag, 1, 6, 7}));
}

TEST_F(MrWithIntegrity, ARepairedMrHasNothingToReport) {
  live_and_end(kToWire, insert_);
  ASSERT_TRUE(key_->renew().ok());
  EXPECT_EQ(key_->check_integrity().verdict, Verdict::kUnchecked);
  ASSERT_EQ(map(kToWire, insert_), PostStatus::kOk);
  ASSERT_EQ(enroll(Access::kRemoteRead), PostStatus::kOk);
  ASSERT_TRUE(key_->renew().ok());
  live_and_end(kToWire, insert_);
  EXPECT_EQ(key_->check_integrity().verdict, Verdict::kGood);
}

TEST_F(MrWithIntegrity, CapacityIsChecked) {
  const auto code = [&](const IntegrityCapacity& integrity) {
    return UiwarpFastMr::create(*keys_, arena_, pd_, 1, device_caps_,
                                {.max_segments = 4, .integrity = integrity})
        .status()
        .code();
  };
  EXPECT_EQ(code({.blocks = kBlocks + 1}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code({.blocks = 1, .protection_segments = 9}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code({.blocks = kBlocks, .protection_segments = 8}), absl::StatusCode::kOk);
}

int64_t resident_bytes() {
  int64_t total = 0;
  int64_t resident = 0;
  std::ifstream("/proc/self/statm") >> total >> resident;
  return resident * int64_t(::sysconf(_SC_PAGESIZE));
}

// 2,048 blocks each could take 176 KiB, and 10,000 MRs 1.7 GiB.
TEST(IntegrityMemory, BlocksArePaidForWhenTheyAreUsed) {
  const int64_t before = resident_bytes();
  const auto device = *Device::open(*Address::parse("uiwarp://127.0.0.1:0"));
  const auto pd = *device->alloc_pd();
  std::vector<std::byte> memory(4096);
  const auto mr = *pd->reg_mr(memory, Access::kLocalWrite);
  auto pool = *MrPool::create(*pd, {.count = 10'000,
                                    .type = MrPoolType::kIntegrity,
                                    .integrity = {.blocks = 2048, .protection_segments = 16}});
  EXPECT_LT(resident_bytes() - before, int64_t{64} << 20);
  std::vector<MrPool::Lease> leases(10'000);
  const Sge sge = mr->sge(0, 512);
  for (MrPool::Lease& lease : leases) {
    lease = pool->get();
    ASSERT_EQ(lease.map(kToWire, {&sge, 1}, {}, {.wire = kSealed}), PostStatus::kOk);
  }
  EXPECT_LT(resident_bytes() - before, int64_t{192} << 20);
}

}  // namespace
}  // namespace mrpool::uiwarp::testing
