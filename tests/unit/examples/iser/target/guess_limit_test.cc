#include "examples/iser/target/guess_limit.h"

#include <gtest/gtest.h>

namespace mrpool::iser_target {
namespace {

using std::chrono::seconds;

constexpr Nanoseconds kStart = std::chrono::hours(5);

TEST(GuessLimit, TenAtOnceThenOneEveryTenSeconds) {
  GuessLimit guesses;
  for (uint32_t i = 0; i < GuessLimit::kAtOnce; ++i) {
    ASSERT_TRUE(guesses.allows("10.0.0.1:1000", kStart)) << i;
    guesses.wrong("10.0.0.1:1000", kStart);
  }
  // Another connection, another port: the same peer.
  EXPECT_FALSE(guesses.allows("10.0.0.1:2000", kStart));
  EXPECT_FALSE(guesses.allows("[::ffff:10.0.0.1]:2000", kStart));
  EXPECT_FALSE(guesses.allows("10.0.0.1:2000", kStart + seconds(9)));
  EXPECT_TRUE(guesses.allows("10.0.0.1:2000", kStart + seconds(10)));
  guesses.wrong("10.0.0.1:2000", kStart + seconds(10));
  EXPECT_FALSE(guesses.allows("10.0.0.1:2000", kStart + seconds(11)));
}

TEST(GuessLimit, OthersAreNotLockedOut) {
  GuessLimit guesses;
  for (int i = 0; i < 100; ++i) guesses.wrong("10.0.0.1:1000", kStart);
  for (int i = 0; i < 100; ++i) guesses.wrong("[2001:db8::1]:1000", kStart);
  EXPECT_TRUE(guesses.allows("10.0.0.2:1000", kStart));
  EXPECT_TRUE(guesses.allows("[2001:db8:0:1::1]:1000", kStart));
  // A customer has 2^64 addresses of one network.
  EXPECT_FALSE(guesses.allows("[2001:db8::2]:1000", kStart));
}

TEST(GuessLimit, RemembersTheWorstOfManyNetworks) {
  GuessLimit guesses;
  for (uint32_t i = 0; i < GuessLimit::kAtOnce; ++i) guesses.wrong("10.0.0.1:1", kStart);
  for (uint32_t i = 0; i < 2 * GuessLimit::kNetworks; ++i) {
    guesses.wrong("172.16." + std::to_string(i / 256) + "." + std::to_string(i % 256) + ":1",
                  kStart);
  }
  EXPECT_FALSE(guesses.allows("10.0.0.1:1", kStart));
}

}  // namespace
}  // namespace mrpool::iser_target
