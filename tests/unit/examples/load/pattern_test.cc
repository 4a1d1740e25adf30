#include "examples/load/pattern.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace mrpool::load {
namespace {

constexpr BlockIdentity kIdentity{.offset = 8192, .run = 3, .sequence = 12};

std::vector<std::byte> block_of(const BlockIdentity& identity, size_t size = 4096) {
  std::vector<std::byte> block(size);
  fill_block(block, identity);
  return block;
}

TEST(Pattern, WhatWasFilledChecksOut) {
  for (const size_t size : {size_t{64}, size_t{512}, size_t{4096}, size_t{1} << 20}) {
    const auto block = block_of(kIdentity, size);
    EXPECT_EQ(check_block(block, kIdentity), BlockFault::kNone);
    EXPECT_EQ(check_block(block, kIdentity.offset), BlockFault::kNone);
  }
}

TEST(Pattern, EveryDamagedBitIsSeen) {
  auto block = block_of(kIdentity, 64);
  for (size_t bit = 0; bit < block.size() * 8; ++bit) {
    block[bit / 8] ^= std::byte(1u << bit % 8);
    EXPECT_NE(check_block(block, kIdentity.offset), BlockFault::kNone) << bit;
    block[bit / 8] ^= std::byte(1u << bit % 8);
  }
}

TEST(Pattern, FaultsAreDistinguished) {
  EXPECT_EQ(check_block(std::vector<std::byte>(4096), kIdentity), BlockFault::kNoHeader);
  EXPECT_EQ(check_block(block_of({.offset = 4096, .run = 3, .sequence = 12}), kIdentity),
            BlockFault::kMisplaced);
  EXPECT_EQ(check_block(block_of({.offset = 8192, .run = 3, .sequence = 11}), kIdentity),
            BlockFault::kStale);
  EXPECT_EQ(check_block(block_of({.offset = 8192, .run = 2, .sequence = 12}), kIdentity),
            BlockFault::kStale);
  // The front of one write and the back of another, as a torn write leaves it.
  auto torn = block_of(kIdentity);
  const auto older = block_of({.offset = 8192, .run = 3, .sequence = 11});
  std::copy(older.begin() + 2048, older.end(), torn.begin() + 2048);
  EXPECT_EQ(check_block(torn, kIdentity), BlockFault::kDamaged);
}

TEST(Pattern, DescriptionsSayWhereAndWhat) {
  const auto stale = block_of({.offset = 8192, .run = 3, .sequence = 11});
  const std::string text = describe(BlockFault::kStale, stale, kIdentity);
  EXPECT_THAT(text, testing::AllOf(testing::HasSubstr("8192"), testing::HasSubstr("write 11"),
                                   testing::HasSubstr("write 12")));
}

}  // namespace
}  // namespace mrpool::load
