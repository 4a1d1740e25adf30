#include "transport/verbs/errors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>

namespace mrpool::verbs {
namespace {

using ::testing::HasSubstr;

TEST(VerbsErrors, ADeviceWithoutDmabufsIsNamed) {
  for (const int error : {EOPNOTSUPP, ENOSYS, EPROTONOSUPPORT}) {
    const absl::Status status = dmabuf_status(error, 7, "rxe0");
    EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
    EXPECT_THAT(std::string(status.message()), HasSubstr("rxe0"));
  }
}

TEST(VerbsErrors, ADescriptorThatIsNotADmabufIsNamed) {
  for (const int error : {EBADF, EINVAL}) {
    const absl::Status status = dmabuf_status(error, 7, "mlx5_0");
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr("descriptor 7 on mlx5_0"));
  }
  EXPECT_EQ(dmabuf_status(ENOMEM, 7, "mlx5_0").code(), absl::StatusCode::kResourceExhausted);
}

// siw's one status for whatever it could not send: sendmsg() to a peer that is gone, for the most
// part. Nobody's memory is wrong then.
TEST(VerbsErrors, WhatSiwCouldNotSendBrokeWithItsConnection) {
  EXPECT_EQ(send_status(IBV_WC_LOC_QP_OP_ERR, true), WcStatus::kTransport);
  EXPECT_EQ(send_status(IBV_WC_LOC_PROT_ERR, true), WcStatus::kLocalProtection) << "a READ's sink";
  EXPECT_EQ(send_status(IBV_WC_WR_FLUSH_ERR, true), WcStatus::kFlushed);
}

TEST(VerbsErrors, OtherDevicesMeanTheRequestItself) {
  EXPECT_EQ(send_status(IBV_WC_LOC_QP_OP_ERR, false), WcStatus::kLocalProtection);
  EXPECT_EQ(send_status(IBV_WC_SUCCESS, false), WcStatus::kSuccess);
}

}  // namespace
}  // namespace mrpool::verbs
