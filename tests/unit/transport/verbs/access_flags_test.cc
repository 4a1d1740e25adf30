#include "transport/verbs/access_flags.h"

#include <gtest/gtest.h>
#include <infiniband/verbs.h>

namespace mrpool::verbs {
namespace {

TEST(VerbsAccess, RelaxedOrderingIsAskedForUnlessDisabled) {
  EXPECT_EQ(to_ibv_access(Access::kNone), uint32_t(IBV_ACCESS_RELAXED_ORDERING));
  EXPECT_EQ(
      to_ibv_access(Access::kLocalWrite | Access::kRemoteRead),
      uint32_t(IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_READ | IBV_ACCESS_RELAXED_ORDERING));
  EXPECT_EQ(to_ibv_access(Access::kLocalWrite | Access::kDisableRelaxedOrdering),
            uint32_t(IBV_ACCESS_LOCAL_WRITE));
}

TEST(VerbsAccess, UserVerbsStayStrictUnlessTheyAskedForRelaxedOrdering) {
  EXPECT_EQ(from_ibv_access(0), Access::kDisableRelaxedOrdering);
  EXPECT_EQ(from_ibv_access(IBV_ACCESS_LOCAL_WRITE),
            Access::kLocalWrite | Access::kDisableRelaxedOrdering);
  EXPECT_EQ(from_ibv_access(IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_RELAXED_ORDERING),
            Access::kLocalWrite);
}

TEST(VerbsAccess, EveryMandatoryFlagHasItsNamesake) {
  const struct {
    Access ours;
    uint32_t theirs;
  } kPairs[] = {
      {Access::kLocalWrite, IBV_ACCESS_LOCAL_WRITE},
      {Access::kRemoteWrite, IBV_ACCESS_REMOTE_WRITE},
      {Access::kRemoteRead, IBV_ACCESS_REMOTE_READ},
      {Access::kRemoteAtomic, IBV_ACCESS_REMOTE_ATOMIC},
      {Access::kMwBind, IBV_ACCESS_MW_BIND},
      {Access::kZeroBased, IBV_ACCESS_ZERO_BASED},
      {Access::kOnDemand, IBV_ACCESS_ON_DEMAND},
      {Access::kHugePages, IBV_ACCESS_HUGETLB},
  };
  for (const auto& pair : kPairs) {
    EXPECT_EQ(to_ibv_access(pair.ours | Access::kDisableRelaxedOrdering), pair.theirs)
        << to_string(pair.ours);
    EXPECT_EQ(from_ibv_access(pair.theirs | IBV_ACCESS_RELAXED_ORDERING), pair.ours)
        << to_string(pair.ours);
  }
}

// IBV_ACCESS_UNORDERED was proposed upstream in 2026 as an optional flag that no release of
// libibverbs of today defines.
TEST(VerbsAccess, OptionalFlagsUnknownHerePassBothWays) {
  for (uint32_t bit = 21; bit <= 29; ++bit) {
    const uint32_t flag = 1u << bit;
    EXPECT_EQ(to_ibv_access(Access(flag)), flag | IBV_ACCESS_RELAXED_ORDERING);
    EXPECT_EQ(from_ibv_access(flag | IBV_ACCESS_RELAXED_ORDERING), Access(flag));
  }
}

TEST(VerbsAccess, UnknownMandatoryFlagsAreLeftForTheDeviceToRefuse) {
  EXPECT_EQ(to_ibv_access(Access(1u << 19) | Access::kDisableRelaxedOrdering), 1u << 19);
}

TEST(VerbsAccess, TheTwoDirectionsAreInverse) {
  for (uint32_t bit = 0; bit < 32; ++bit) {
    const Access access{1u << bit};
    EXPECT_EQ(from_ibv_access(to_ibv_access(access)), access) << "bit " << bit;
    EXPECT_EQ(to_ibv_access(from_ibv_access(1u << bit)), 1u << bit) << "bit " << bit;
  }
}

}  // namespace
}  // namespace mrpool::verbs
