// What ends while a peer or another reactor still has to do with the key of a FastMr.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <thread>
#include <vector>

#include "tests/unit/pool/fake_device.h"
#include "tests/unit/transport/uiwarp/sides.h"
#include "transport/uiwarp/fast_mr.h"
#include "transport/uiwarp/segment_arena.h"
#include "transport/uiwarp/send_side.h"
#include "transport/uiwarp/tx_batch.h"

namespace mrpool::uiwarp::testing {
namespace {

class FastMrEnd : public OneSide {
 protected:
  static constexpr uint32_t kBytes = 16384;

  FastMrEnd() {
    device_caps_.max_fast_reg_segments = 4;
    device_caps_.max_message = kBytes;
    device_caps_.access.known = Access::kLocalWrite | Access::kRemoteRead;
    uint32_t stag = 0;
    KeySlot* const slot = keys_->allocate(stag);
    const Access access = Access::kLocalWrite;
    base_ = std::make_unique<UiwarpMr>(*keys_, counters_, slot, stag, /*pd=*/1, bytes_,
                                       Granted{.requested = access, .effective = access});
    mr_fast_ = *UiwarpFastMr::create(*keys_, arena_, pd_, /*pd=*/1, device_caps_,
                                     {.max_segments = 4, .ceiling = Access::kRemoteRead});
    const Sge all = base_->sge(0, kBytes);
    EXPECT_EQ(mr_fast_->map({&all, 1}), 1u);
    mr_fast_->advance_key();
    EXPECT_EQ(mr_fast_->check_register(Access::kRemoteRead, {.pd = 1, .qp = 2}), PostStatus::kOk);
    EXPECT_TRUE(mr_fast_->open());
  }

  SegmentArena arena_;
  mrpool::testing::FakePd pd_;
  DeviceCaps device_caps_;
  std::vector<std::byte> bytes_ = std::vector<std::byte>(kBytes);
  std::unique_ptr<UiwarpMr> base_;
  std::unique_ptr<UiwarpFastMr> mr_fast_;
};

// The socket took a part of a READ response; the rest lies in memory that is its owner's again.
TEST_F(FastMrEnd, TheRestOfAResponseStaysHereWhenItsBaseRegistrationHasEnded) {
  SendSide side{state_, cq_, {.max_send_wr = 8, .max_send_sge = 2}};
  state_.peer_reads.add(ReadRequest{.length = 8192,
                                    .source_stag = mr_fast_->rkey().value,
                                    .source_offset = mr_fast_->remote_addr().value},
                        1);
  const auto batch = std::make_unique<TxBatch>();
  batch->clear();
  ASSERT_TRUE(side.build(*batch));
  batch->advance(100);
  EXPECT_TRUE(batch->guards_hold());
  base_.reset();
  EXPECT_TRUE(mr_fast_->live());
  EXPECT_FALSE(batch->guards_hold());
  batch->advance(batch->bytes());
  EXPECT_TRUE(batch->guards_hold()) << "all of it is out";
}

// A reader may have found the key open before it ended, and not have looked at its Qp yet.
TEST_F(FastMrEnd, ASlotIsReusedWhenNoThreadReadsIt) {
  mr_fast_->invalidate();
  Quiescence::Reader reader(keys_->quiescence());
  std::atomic<bool> inside{false}, left{false};
  std::thread other([&] {
    const Quiescence::Section section(reader);
    inside = true;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    left = true;
  });
  while (!inside) std::this_thread::yield();
  mr_fast_.reset();
  EXPECT_TRUE(left);
  other.join();
}

}  // namespace
}  // namespace mrpool::uiwarp::testing
