#include "examples/base/exit_status.h"

#include <gtest/gtest.h>

namespace mrpool::base {
namespace {

using absl::StatusCode;

TEST(ExitStatus, IsOneForEveryKindOfError) {
  EXPECT_EQ(exit_status(StatusCode::kOk), kExitOk);
  // A range that does not fit is a mistake of the command line as a misspelt option is.
  for (const StatusCode code : {StatusCode::kInvalidArgument, StatusCode::kOutOfRange}) {
    EXPECT_EQ(exit_status(code), kExitUsage);
  }
  for (const StatusCode code :
       {StatusCode::kDataLoss, StatusCode::kAborted, StatusCode::kInternal}) {
    EXPECT_EQ(exit_status(code), kExitIo);
  }
  for (const StatusCode code :
       {StatusCode::kUnavailable, StatusCode::kNotFound, StatusCode::kPermissionDenied,
        StatusCode::kUnauthenticated, StatusCode::kDeadlineExceeded}) {
    EXPECT_EQ(exit_status(code), kExitConnection);
  }
  EXPECT_EQ(exit_status(StatusCode::kCancelled), kExitInterrupted);
}

}  // namespace
}  // namespace mrpool::base
