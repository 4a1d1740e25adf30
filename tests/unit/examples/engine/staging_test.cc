// Staging memory: all chunks of a claim or none, in the order of asking, and what a claim's memory
// looks like to storage and to work requests.
#include "examples/engine/staging.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "tests/sim/reactor.h"

namespace mrpool::engine {
namespace {

class StagingTest : public ::testing::Test {
 protected:
  struct Claim : StagingClaim {
    Claim(StagingTest& owner, int n)
        : StagingClaim(owner.owner_,
                       [](StagingClaim& self) {
                         Claim& claim = static_cast<Claim&>(self);
                         claim.test.ready_.push_back(claim.number);
                         if (claim.put_at_once) claim.test.staging_->put(claim);
                       }),
          test(owner),
          number(n) {}
    StagingTest& test;
    const int number;
    bool put_at_once = false;
  };

  void turn() {
    while (reactor_.poll() != 0) {
    }
  }

  sim::SimReactor reactor_;
  std::unique_ptr<Staging> staging_ = std::move(*Staging::create(reactor_, 4 * kChunk));
  StagingOwner owner_;
  std::vector<int> ready_;
};

using Numbers = std::vector<int>;

TEST_F(StagingTest, GivesAllChunksOrNone) {
  Claim three(*this, 1), two(*this, 2), one(*this, 3);
  EXPECT_TRUE(staging_->take(three, 3));
  EXPECT_EQ(three.held(), 3u);
  EXPECT_FALSE(staging_->take(two, 2));
  EXPECT_EQ(two.held(), 0u);
  EXPECT_EQ(staging_->available(), 1u) << "a claim that waits holds nothing";
  EXPECT_FALSE(staging_->take(one, 1)) << "one would fit, but another came first";
  EXPECT_EQ(owner_.held, 3u);
  EXPECT_EQ(owner_.waiting, 2u);
  staging_->put(three);
  EXPECT_EQ(ready_, Numbers{}) << "never from inside put()";
  turn();
  EXPECT_EQ(ready_, (Numbers{2, 3}));
  EXPECT_EQ(staging_->in_use(), 3u);
  staging_->put(two);
  staging_->put(one);
  EXPECT_EQ(staging_->available(), staging_->total());
  EXPECT_EQ(owner_.held, 0u);
  EXPECT_EQ(owner_.waiting, 0u);
  EXPECT_EQ(staging_->high_water(), 3u);
  EXPECT_EQ(staging_->waits(), 2u);
}

TEST_F(StagingTest, ABigClaimIsNotStarvedBySmallOnes) {
  Claim first(*this, 1), big(*this, 2), small(*this, 3);
  EXPECT_TRUE(staging_->take(first, 1));
  EXPECT_FALSE(staging_->take(big, 4));
  EXPECT_FALSE(staging_->take(small, 1));
  staging_->put(first);
  turn();
  EXPECT_EQ(ready_, Numbers{2}) << "the small one waits for the big one to end";
  staging_->put(big);
  turn();
  EXPECT_EQ(ready_, (Numbers{2, 3}));
  staging_->put(small);
}

TEST_F(StagingTest, ACancelledClaimLetsThoseAfterItPass) {
  Claim all(*this, 1), big(*this, 2), small(*this, 3), last(*this, 4);
  EXPECT_TRUE(staging_->take(all, 3));
  EXPECT_FALSE(staging_->take(big, 4));
  EXPECT_FALSE(staging_->take(small, 1));
  EXPECT_FALSE(staging_->take(last, 1));
  staging_->cancel(last);
  turn();
  EXPECT_EQ(ready_, Numbers{});
  staging_->cancel(big);
  EXPECT_FALSE(big.waiting());
  turn();
  EXPECT_EQ(ready_, Numbers{3});
  staging_->cancel(big);  // waits no longer: nothing happens
  EXPECT_EQ(staging_->waiting(), 0u);
  staging_->put(all);
  staging_->put(small);
  turn();
  EXPECT_EQ(ready_, Numbers{3});
  // The list is whole: what comes now is served.
  EXPECT_TRUE(staging_->take(big, 4));
  EXPECT_FALSE(staging_->take(last, 1));
  staging_->put(big);
  turn();
  EXPECT_EQ(ready_, (Numbers{3, 4}));
  staging_->put(last);
}

TEST_F(StagingTest, AClaimMayGiveItsChunksBackFromInsideReady) {
  Claim all(*this, 1), a(*this, 2), b(*this, 3);
  a.put_at_once = b.put_at_once = true;
  EXPECT_TRUE(staging_->take(all, 4));
  EXPECT_FALSE(staging_->take(a, 4));
  EXPECT_FALSE(staging_->take(b, 4));
  staging_->put(all);
  turn();
  EXPECT_EQ(ready_, (Numbers{2, 3}));
  EXPECT_EQ(staging_->in_use(), 0u);
}

TEST_F(StagingTest, ShowsTheClaimedMemoryInPieces) {
  Claim claim(*this, 1);
  ASSERT_TRUE(staging_->take(claim, 3));
  std::array<iovec, kMaxChunks> vectors;
  std::array<Sge, kMaxChunks> sges;
  const uint64_t offset = kChunk - 100, length = kChunk + 200;
  ASSERT_EQ(staging_->vectors(claim, offset, length, vectors), 3u);
  ASSERT_EQ(staging_->sges(claim, offset, length, Lkey{7}, sges), 3u);
  const uint32_t lengths[] = {100, kChunk, 100};
  uint64_t at = offset;
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(vectors[i].iov_base, staging_->at(claim, at));
    EXPECT_EQ(vectors[i].iov_len, lengths[i]);
    EXPECT_EQ(sges[i].addr, staging_->at(claim, at));
    EXPECT_EQ(sges[i].length, lengths[i]);
    at += lengths[i];
  }
  EXPECT_EQ(staging_->vectors(claim, 0, 0, vectors), 0u);
  staging_->put(claim);
}

}  // namespace
}  // namespace mrpool::engine
