#include "transport/provider/hello.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>

namespace mrpool::provider {
namespace {

constexpr Hello kHello{.credits = true,
                       .min_rnr_timer = 12,
                       .source_qp = 0x83a300,
                       .target_qp = 0xac6b01,
                       .receives = 500,
                       .credit_rkey = 0xdeadbeef,
                       .credit_addr = 0x123456789abcdef0};

TEST(Hello, IsReturnedWithThePrivateDataAfterIt) {
  const std::array<std::byte, 3> mine{std::byte{1}, std::byte{2}, std::byte{3}};
  const std::vector<std::byte> bytes = encode(kHello, mine);
  ASSERT_EQ(bytes.size(), Hello::kBytes + mine.size());
  std::span<const std::byte> rest = bytes;
  EXPECT_EQ(take_hello(rest), kHello);
  EXPECT_TRUE(std::ranges::equal(rest, mine));
}

TEST(Hello, CreditsAreAFlag) {
  Hello without = kHello;
  without.credits = false;
  const std::vector<std::byte> bytes = encode(without, {});
  std::span<const std::byte> rest = bytes;
  EXPECT_EQ(take_hello(rest), without);
}

TEST(Hello, ForeignPrivateDataStaysWhole) {
  std::vector<std::byte> foreign(64, std::byte{0x55});
  std::span<const std::byte> rest = foreign;
  EXPECT_EQ(take_hello(rest), std::nullopt);
  EXPECT_EQ(rest.size(), foreign.size());
}

TEST(Hello, OneThatIsCutShortIsForeign) {
  const std::vector<std::byte> bytes = encode(kHello, {});
  for (size_t length = 0; length < bytes.size(); ++length) {
    std::span<const std::byte> rest = std::span(bytes).first(length);
    EXPECT_EQ(take_hello(rest), std::nullopt) << length;
    EXPECT_EQ(rest.size(), length);
  }
}

TEST(Hello, AnotherVersionIsForeign) {
  std::vector<std::byte> bytes = encode(kHello, {});
  bytes[4] = std::byte{2};
  std::span<const std::byte> rest = bytes;
  EXPECT_EQ(take_hello(rest), std::nullopt);
}

}  // namespace
}  // namespace mrpool::provider
