#include <gtest/gtest.h>
#include <infiniband/verbs.h>

#include <type_traits>

#include "mrpool/access.h"

namespace mrpool::verbs {
namespace {

TEST(VerbsAccess, RelaxedOrderingIsAskedForUnlessDisabled) {
  EXPECT_EQ(to_ibv(Access::kNone), uint32_t(IBV_ACCESS_RELAXED_ORDERING));
  EXPECT_EQ(
      to_ibv(Access::kLocalWrite | Access::kRemoteRead),
      uint32_t(IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_READ | IBV_ACCESS_RELAXED_ORDERING));
  EXPECT_EQ(to_ibv(Access::kLocalWrite | Access::kDisableRelaxedOrdering),
            uint32_t(IBV_ACCESS_LOCAL_WRITE));
}

TEST(VerbsAccess, UserVerbsStayStrictUnlessTheyAskedForRelaxedOrdering) {
  EXPECT_EQ(from_ibv(0), Access::kDisableRelaxedOrdering);
  EXPECT_EQ(from_ibv(IBV_ACCESS_LOCAL_WRITE),
            Access::kLocalWrite | Access::kDisableRelaxedOrdering);
  EXPECT_EQ(from_ibv(IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_RELAXED_ORDERING), Access::kLocalWrite);
}

// Access(IBV_ACCESS_...) would compile and mean the opposite for bit 20.
static_assert(!std::is_constructible_v<Access, uint32_t>);
static_assert(!std::is_constructible_v<Access, int>);
static_assert(!std::is_constructible_v<Access, ibv_access_flags>);
static_assert(!std::is_convertible_v<Access, uint32_t>);

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
      // IBV_ACCESS_FLUSH_GLOBAL and IBV_ACCESS_FLUSH_PERSISTENT of later versions.
      {Access::kFlushGlobal, 1u << 8},
      {Access::kFlushPersistent, 1u << 9},
  };
  for (const auto& pair : kPairs) {
    EXPECT_EQ(to_ibv(pair.ours | Access::kDisableRelaxedOrdering), pair.theirs)
        << to_string(pair.ours);
    EXPECT_EQ(from_ibv(pair.theirs | IBV_ACCESS_RELAXED_ORDERING), pair.ours)
        << to_string(pair.ours);
  }
}

// IBV_ACCESS_UNORDERED was proposed upstream in 2026 as an optional flag that no release of
// libibverbs of today defines.
TEST(VerbsAccess, OptionalFlagsUnknownHerePassBothWays) {
  for (uint32_t bit = 21; bit <= 29; ++bit) {
    const uint32_t flag = 1u << bit;
    EXPECT_EQ(to_ibv(Access::from_bits(flag)), flag | IBV_ACCESS_RELAXED_ORDERING);
    EXPECT_EQ(from_ibv(flag | IBV_ACCESS_RELAXED_ORDERING), Access::from_bits(flag));
  }
}

TEST(VerbsAccess, UnknownMandatoryFlagsAreLeftForTheDeviceToRefuse) {
  EXPECT_EQ(to_ibv(Access::from_bits(1u << 19) | Access::kDisableRelaxedOrdering), 1u << 19);
}

TEST(VerbsAccess, TheTwoDirectionsAreInverse) {
  for (uint32_t bit = 0; bit < 32; ++bit) {
    const Access access = Access::from_bits(1u << bit);
    EXPECT_EQ(from_ibv(to_ibv(access)), access) << "bit " << bit;
    EXPECT_EQ(to_ibv(from_ibv(1u << bit)), 1u << bit) << "bit " << bit;
  }
}

}  // namespace
}  // namespace mrpool::verbs
