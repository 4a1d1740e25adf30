#include "mrpool/access.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mrpool {
namespace {

TEST(Access, DeniedFlagsAreNamed) {
  constexpr Access kStrict = Access::kDisableRelaxedOrdering;
  EXPECT_EQ(beyond_ceiling(Access::kRemoteRead, Access::kLocalWrite), Access::kRemoteRead);
  EXPECT_EQ(beyond_ceiling(Access::kLocalWrite, Access::kLocalWrite | kStrict), kStrict);
  EXPECT_EQ(beyond_ceiling(Access::kLocalWrite | kStrict, Access::kLocalWrite), Access::kNone);
  EXPECT_EQ(forbidden(Access::kRemoteAtomic | Access::kRemoteRead), Access::kRemoteAtomic);
  EXPECT_EQ(forbidden(Access::kRemoteAtomic | Access::kLocalWrite), Access::kNone);
  EXPECT_EQ(to_string(Access::kFlushGlobal | Access::kFlushPersistent),
            "flush_global|flush_persistent");
}

// Bit 20 changes its meaning on the way; everything else is carried.
TEST(Access, VerbsFlagsAreTranslatedByName) {
  constexpr uint32_t kIbvRelaxed = 1u << 20;
  static_assert(from_ibv(0) == Access::kDisableRelaxedOrdering);
  static_assert(from_ibv(kIbvRelaxed | 1) == Access::kLocalWrite);
  static_assert(to_ibv(Access::kLocalWrite) == (kIbvRelaxed | 1));
  static_assert(!std::is_constructible_v<Access, unsigned>);
  EXPECT_EQ(to_string(from_ibv(kIbvRelaxed)), "none");
}

using testing::HasSubstr;

constexpr AccessSupport kSoft{
    .known = Access::kLocalWrite | Access::kRemoteWrite | Access::kRemoteRead,
    .honoured = Access::kDisableRelaxedOrdering,
};

TEST(Access, RelaxedOrderingIsTheDefaultAndHasOneSwitch) {
  EXPECT_FALSE(any(Access::kNone & Access::kDisableRelaxedOrdering));
  EXPECT_FALSE(any(kRemoteRights & Access::kDisableRelaxedOrdering));
}

TEST(Access, UnknownMandatoryFlagIsRefusedByName) {
  Granted granted;
  const absl::Status status = grant(Access::kLocalWrite | Access::kRemoteAtomic, kSoft, granted);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("remote_atomic"));
}

TEST(Access, UnknownOptionalFlagIsIgnoredAndReported) {
  const Access unordered = Access::from_bits(1u << 21);
  Granted granted;
  ASSERT_TRUE(grant(Access::kLocalWrite | unordered, kSoft, granted).ok());
  EXPECT_EQ(granted.effective, Access::kLocalWrite);
  EXPECT_EQ(granted.ignored, unordered);
  EXPECT_EQ(granted.unknown, Access::kNone);
}

TEST(Access, SilentMaskingIsReportedAsUnknown) {
  AccessSupport masked = kSoft;
  masked.honoured = Access::kNone;
  masked.reports_optional = false;
  Granted granted;
  ASSERT_TRUE(grant(Access::kLocalWrite | Access::kDisableRelaxedOrdering, masked, granted).ok());
  EXPECT_EQ(granted.unknown, Access::kDisableRelaxedOrdering);
  EXPECT_EQ(granted.ignored, Access::kNone);
}

TEST(Access, ForbiddenCombinationsAreRefusedBeforeTheDevice) {
  EXPECT_FALSE(validate(Access::kRemoteWrite).ok());
  EXPECT_FALSE(validate(Access::kRemoteAtomic | Access::kRemoteRead).ok());
  EXPECT_FALSE(validate(Access::from_bits(1u << 30)).ok());
  EXPECT_TRUE(validate(Access::kRemoteRead).ok());
  EXPECT_TRUE(validate(Access::kRemoteWrite | Access::kLocalWrite).ok());
}

TEST(Access, CeilingBoundsRightsAndKeepsStrictPoolsStrict) {
  const Access ceiling = Access::kLocalWrite | Access::kRemoteRead;
  EXPECT_TRUE(within_ceiling(Access::kRemoteRead, ceiling));
  EXPECT_FALSE(within_ceiling(Access::kLocalWrite | Access::kRemoteWrite, ceiling));
  EXPECT_TRUE(within_ceiling(Access::kRemoteRead | Access::kZeroBased, ceiling));
  const Access strict = ceiling | Access::kDisableRelaxedOrdering;
  EXPECT_FALSE(within_ceiling(Access::kRemoteRead, strict));
  EXPECT_TRUE(within_ceiling(Access::kRemoteRead | Access::kDisableRelaxedOrdering, strict));
  EXPECT_TRUE(within_ceiling(Access::kRemoteRead | Access::kDisableRelaxedOrdering, ceiling));
}

TEST(Access, RoleDecidesRightsOfTheSinkNeverOfTheSource) {
  EXPECT_EQ(local_access_for(BufferRole::kSource, true), Access::kNone);
  EXPECT_EQ(local_access_for(BufferRole::kReadSink, false), Access::kLocalWrite);
  EXPECT_EQ(local_access_for(BufferRole::kReadSink, true),
            Access::kLocalWrite | Access::kRemoteWrite);
}

TEST(Access, NamesAreForPeople) {
  EXPECT_EQ(to_string(Access::kNone), "none");
  EXPECT_EQ(to_string(Access::kLocalWrite | Access::kDisableRelaxedOrdering),
            "local_write|disable_relaxed_ordering");
  EXPECT_EQ(to_string(Access::from_bits(1u << 21)), "bit 21");
}

}  // namespace
}  // namespace mrpool
