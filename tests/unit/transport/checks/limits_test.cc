#include "transport/checks/limits.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mrpool::checks {
namespace {

using ::testing::HasSubstr;

struct NoSrq final : Srq {
  PostStatus post_recv(const RecvRequest&) override { return PostStatus::kUnsupported; }
  uint32_t posted() const override { return 0; }
  absl::Status arm_limit(uint32_t) override { return absl::OkStatus(); }
};

TEST(CqRoom, AQpsTwoQueuesCountTogetherInOneCq) {
  CqRoom one(20), other(20);
  const CqShares shares({.max_send_wr = 12, .max_recv_wr = 9}, 0);
  EXPECT_TRUE(shares.fit(one, other).ok());
  const absl::Status status = shares.fit(one, one);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()), HasSubstr("raise CqOptions::depth"));
}

TEST(CqRoom, AnSrqCountsOnceForAllItsQps) {
  NoSrq srq;
  CqRoom room(30);
  const CqShares shares({.srq = &srq, .max_send_wr = 5, .max_recv_wr = 1000}, 10);
  for (int i = 0; i < 4; ++i) {
    ASSERT_TRUE(shares.fit(room, room).ok()) << i;
    room.add(shares.send);
    room.add(shares.recv);
  }
  EXPECT_EQ(room.used(), 30u);
  EXPECT_FALSE(shares.fit(room, room).ok());
  for (int i = 0; i < 4; ++i) {
    room.remove(shares.send);
    room.remove(shares.recv);
  }
  EXPECT_EQ(room.used(), 0u);
}

TEST(CheckLimits, NameWhatWasAskedAndWhatThereIs) {
  DeviceCaps caps;
  caps.name = "dev0";
  caps.max_qp_wr = 100;
  caps.max_sge = 4;
  const absl::Status status = check_qp_options(caps, {.max_send_wr = 101});
  EXPECT_EQ(status.message(), "max_send_wr 101 exceeds the 100 of dev0");
  EXPECT_TRUE(check_qp_options(caps, {.max_send_wr = 100, .max_recv_wr = 100}).ok());
  EXPECT_FALSE(check_srq_options({.max_wr = 1, .max_sge = 0}, 10, 10, "dev0").ok());
  EXPECT_FALSE(check_srq_options({.max_wr = 11, .max_sge = 1}, 10, 10, "dev0").ok());
  EXPECT_TRUE(check_srq_options({.max_wr = 10, .max_sge = 10}, 10, 10, "dev0").ok());
}

}  // namespace
}  // namespace mrpool::checks
