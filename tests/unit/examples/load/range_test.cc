#include "examples/load/range.h"

#include <gtest/gtest.h>

namespace mrpool::load {
namespace {

constexpr uint64_t kStore = 1 << 20;
constexpr uint64_t kMost = ~uint64_t{0};

bool fits(const Range& range) { return check_range(range, kStore, 4096).ok(); }

TEST(Range, EndsWithTheStore) {
  EXPECT_TRUE(fits({}));
  EXPECT_TRUE(fits({.offset = kStore - 4096}));
  EXPECT_TRUE(fits({.offset = kStore - 4096, .size = 4095}));
  EXPECT_TRUE(fits({.size = kStore}));
  EXPECT_FALSE(fits({.size = kStore + 1}));
  EXPECT_FALSE(fits({.offset = 4096, .size = kStore}));
  EXPECT_FALSE(fits({.offset = 4096, .size = kMost}));
  EXPECT_FALSE(fits({.offset = kStore}));
  EXPECT_FALSE(fits({.offset = kMost - 4095, .size = 4096}));
  EXPECT_FALSE(fits({.offset = 5}));
  EXPECT_FALSE(check_range({}, 0, 4096).ok());
}

TEST(Range, HasTheRequestedLength) {
  EXPECT_EQ(Range{.offset = 4096}.bytes(kStore), kStore - 4096);
  EXPECT_EQ((Range{.offset = 4096, .size = 5}.bytes(kStore)), 5u);
}

TEST(Range, ReadsTheRequestedPartOfAnInput) {
  EXPECT_TRUE(check_input({}, kStore, kStore).ok());
  EXPECT_TRUE(check_input({}, kStore, {}).ok());
  EXPECT_TRUE(check_input({.size = 5}, kStore, kMost).ok());
  EXPECT_EQ(
      check_input({.offset = 4096}, kStore, kStore).message(),
      "the input does not fit: there is room for 1044480 bytes from --offset 4096, and it has "
      "1048576");
}

}  // namespace
}  // namespace mrpool::load
