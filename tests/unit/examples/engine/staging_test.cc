// Staging memory: all chunks of a claim or none, in the order of asking, shared by hosts and
// stores, and what a claim's memory looks like to storage and to work requests.
#include "examples/engine/staging.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <string>
#include <vector>

#include "tests/sim/reactor.h"

namespace mrpool::engine {
namespace {

class StagingTest : public ::testing::Test {
 protected:
  struct Claim : StagingClaim {
    Claim(StagingTest& owner, int n)
        : StagingClaim([](StagingClaim& self) {
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
  std::unique_ptr<Staging> staging_ = std::move(*Staging::create(reactor_, 16 * kChunk));
  const std::shared_ptr<StagingHost> host_ = staging_->host("host");
  const std::shared_ptr<StagingFlow> owned_ = staging_->flow(host_, this);
  StagingFlow& flow_ = *owned_;
  std::vector<int> ready_;
};

using Numbers = std::vector<int>;

TEST_F(StagingTest, GivesAllChunksOrNone) {
  Claim twelve(*this, 1), eight(*this, 2), one(*this, 3);
  EXPECT_TRUE(staging_->take(twelve, flow_, 12));
  EXPECT_EQ(twelve.held(), 12u);
  EXPECT_FALSE(staging_->take(eight, flow_, 8));
  EXPECT_EQ(eight.held(), 0u);
  EXPECT_EQ(staging_->available(), 4u) << "a claim that waits holds nothing";
  EXPECT_FALSE(staging_->take(one, flow_, 1)) << "one would fit, but another came first";
  EXPECT_EQ(host_->held, 12u);
  EXPECT_EQ(flow_.users(), 3u);
  staging_->put(twelve);
  EXPECT_EQ(ready_, Numbers{}) << "never from inside put()";
  turn();
  EXPECT_EQ(ready_, (Numbers{2, 3}));
  EXPECT_EQ(staging_->in_use(), 9u);
  staging_->put(eight);
  staging_->put(one);
  EXPECT_EQ(staging_->available(), staging_->total());
  EXPECT_EQ(host_->held, 0u);
  EXPECT_EQ(flow_.users(), 0u);
  EXPECT_EQ(staging_->high_water(), 12u);
  EXPECT_EQ(staging_->waits(), 2u);
}

TEST_F(StagingTest, ABigClaimIsNotStarvedBySmallOnes) {
  Claim first(*this, 1), big(*this, 2), small(*this, 3);
  EXPECT_TRUE(staging_->take(first, flow_, 1));
  EXPECT_FALSE(staging_->take(big, flow_, 16));
  EXPECT_FALSE(staging_->take(small, flow_, 1));
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
  EXPECT_TRUE(staging_->take(all, flow_, 8));
  EXPECT_FALSE(staging_->take(big, flow_, 16));
  EXPECT_FALSE(staging_->take(small, flow_, 1));
  EXPECT_FALSE(staging_->take(last, flow_, 1));
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
  EXPECT_TRUE(staging_->take(big, flow_, 16));
  EXPECT_FALSE(staging_->take(last, flow_, 1));
  staging_->put(big);
  turn();
  EXPECT_EQ(ready_, (Numbers{3, 4}));
  staging_->put(last);
}

TEST_F(StagingTest, AClaimMayGiveItsChunksBackFromInsideReady) {
  Claim all(*this, 1), a(*this, 2), b(*this, 3);
  a.put_at_once = b.put_at_once = true;
  EXPECT_TRUE(staging_->take(all, flow_, 16));
  EXPECT_FALSE(staging_->take(a, flow_, 16));
  EXPECT_FALSE(staging_->take(b, flow_, 16));
  staging_->put(all);
  turn();
  EXPECT_EQ(ready_, (Numbers{2, 3}));
  EXPECT_EQ(staging_->in_use(), 0u);
}

TEST_F(StagingTest, ShowsTheClaimedMemoryInPieces) {
  Claim claim(*this, 1);
  ASSERT_TRUE(staging_->take(claim, flow_, 3));
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

// 64 chunks, shared by several hosts and stores; what one of them holds it never gives back.
class StagingShares : public StagingTest {
 protected:
  static constexpr uint32_t kTotal = 64;

  struct User {
    User(StagingShares& owner, const char* host, const void* store)
        : test(owner), flow(owner.staging_->flow(owner.staging_->host(host), store)) {}
    ~User() { stop(); }
    bool take(uint32_t chunks = 1) {
      claims.push_back(std::make_unique<Claim>(test, int(claims.size())));
      return test.staging_->take(*claims.back(), *flow, chunks);
    }
    // Takes all it can have; then more of it waits.
    uint32_t take_all() {
      for (uint32_t i = 0; i < 2 * kTotal; ++i) (void)take();
      return held();
    }
    uint32_t held() const {
      uint32_t sum = 0;
      for (const auto& claim : claims) sum += claim->held();
      return sum;
    }
    void stop() {
      for (const auto& claim : claims) {
        test.staging_->cancel(*claim);
        test.staging_->put(*claim);
      }
      claims.clear();
    }
    StagingShares& test;
    std::shared_ptr<StagingFlow> flow;
    std::vector<std::unique_ptr<Claim>> claims;
  };

  StagingShares() { staging_ = std::move(*Staging::create(reactor_, kTotal * kChunk)); }

  const int disk_ = 0, other_disk_ = 0;
};

TEST_F(StagingShares, AHostThatGivesNothingBackLeavesRoomForEveryOther) {
  User greedy(*this, "greedy", &disk_);
  User same(*this, "greedy", &other_disk_);
  const uint32_t most = greedy.take_all() + same.take_all();
  EXPECT_GE(most, kTotal / 2) << "alone it has most of it";
  EXPECT_LE(most, kTotal * 4 / 5);
  for (const char* name : {"first", "second", "third"}) {
    User honest(*this, name, &disk_);
    EXPECT_TRUE(honest.take(8)) << name;
    EXPECT_GE(honest.held(), 8u) << name;
  }
}

TEST_F(StagingShares, AStoreThatHangsLeavesRoomForItsHostsOthers) {
  User hung(*this, "host", &disk_);
  EXPECT_LE(hung.take_all(), kTotal * 2 / 3);
  for (const auto& claim : hung.claims) staging_->enter_store(*claim);
  User healthy(*this, "host", &other_disk_);
  EXPECT_TRUE(healthy.take()) << "another store of the same host";
  User other(*this, "other", &other_disk_);
  EXPECT_TRUE(other.take(8)) << "another host";
  User victim(*this, "third", &disk_);
  EXPECT_FALSE(victim.take(8)) << "nothing more is taken for it";
  hung.stop();
  turn();
  EXPECT_EQ(victim.held(), 8u);
}

TEST_F(StagingShares, AStoreThatAnswersServesOthersBeforeAnythingIsGivenBack) {
  User reader(*this, "reader", &disk_);
  reader.take_all();
  for (const auto& claim : reader.claims) staging_->enter_store(*claim);
  User victim(*this, "victim", &disk_);
  ASSERT_FALSE(victim.take(8)) << "the store has its share";
  // All has been read, and the reader does not take it.
  for (const auto& claim : reader.claims) staging_->leave_store(*claim);
  turn();
  EXPECT_EQ(victim.held(), 8u);
}

TEST_F(StagingShares, TheHostThatHoldsLeastIsServedNext) {
  User greedy(*this, "greedy", &disk_);
  const uint32_t most = greedy.take_all();
  std::vector<std::unique_ptr<User>> crowd;
  const std::string names = "abcdefghijklmnopqrstuvwxyz";
  for (const char& name : names) {  // each with a store of its own
    crowd.push_back(std::make_unique<User>(*this, std::string(1, name).c_str(), &name));
    if (!crowd.back()->take()) break;
  }
  crowd.pop_back();
  User late(*this, "late", &other_disk_);
  ASSERT_FALSE(late.take(4)) << "nothing is free";
  for (size_t i = 0; i < 4; ++i) staging_->put(*greedy.claims[i]);
  turn();
  EXPECT_EQ(late.held(), 4u);
  EXPECT_EQ(greedy.held(), most - 4) << "it has waited for longer, but holds more";
}

TEST_F(StagingShares, ALongClaimIsNotStarvedByOtherHostsShortOnes) {
  User first(*this, "first", &disk_), second(*this, "second", &other_disk_);
  first.take_all();
  second.take_all();
  User third(*this, "third", this);
  (void)third.take(kMaxChunks);
  // The others go on as they do: each time one claim of theirs ends, another is taken.
  for (int i = 0; i < 1000 && third.held() == 0; ++i) {
    User& user = i % 2 == 0 ? first : second;
    const auto at = std::ranges::find_if(user.claims, [](const auto& c) { return c->held() != 0; });
    if (at == user.claims.end()) continue;
    staging_->put(**at);
    turn();
    (void)user.take();
  }
  EXPECT_EQ(third.held(), kMaxChunks);
}

TEST_F(StagingShares, UrgentClaimsHaveTheirOwn) {
  std::vector<std::unique_ptr<User>> crowd;
  std::vector<std::string> names;
  for (int i = 0; i < 100; ++i) names.push_back("host" + std::to_string(i));
  for (const std::string& name : names) {  // each with a store of its own
    crowd.push_back(std::make_unique<User>(*this, name.c_str(), &name));
    crowd.back()->take();
  }
  EXPECT_EQ(staging_->available(), kUrgentChunks) << "all that I/O may have is in use";
  User identify(*this, "late", nullptr);
  EXPECT_TRUE(identify.take());
  EXPECT_LE(identify.take_all(), kUrgentChunks / 2) << "one host does not take all of these";
  User other(*this, "other", nullptr);
  EXPECT_TRUE(other.take());
}

TEST_F(StagingShares, ALongUrgentClaimLeavesTheReserveToOthers) {
  User first(*this, "first", nullptr);
  EXPECT_TRUE(first.take(kUrgentChunks)) << "of the memory for everybody";
  EXPECT_EQ(staging_->available(), kTotal - kUrgentChunks);
  User greedy(*this, "greedy", &disk_);
  greedy.take_all();
  User second(*this, "second", nullptr);
  EXPECT_TRUE(second.take(kUrgentChunks / 2));
}

// Of this thread, whatever else the machine does.
std::chrono::nanoseconds cpu_time() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

TEST_F(StagingShares, NoCallTakesLongerWhenManyWait) {
  std::vector<std::unique_ptr<User>> queues;
  for (int i = 0; i < 200; ++i) {
    queues.push_back(std::make_unique<User>(*this, "host", &disk_));
    for (int k = 0; k < 1000; ++k) (void)queues.back()->take();
  }
  // As when the host resets its controller. A walk through those that wait would be 2 * 10^10
  // steps.
  const auto start = cpu_time();
  for (const auto& queue : queues) queue->stop();
  turn();
  EXPECT_LT(cpu_time() - start, std::chrono::seconds(10));
  EXPECT_EQ(staging_->in_use(), 0u);
  EXPECT_EQ(staging_->waiting(), 0u);
}

TEST_F(StagingShares, NoRoundTakesLongerWhenManyHostsWait) {
  constexpr int kHosts = 2000;
  std::vector<std::string> names;
  for (int i = 0; i < kHosts; ++i) names.push_back("host" + std::to_string(i));
  std::vector<std::unique_ptr<User>> hosts;
  for (const std::string& name : names) {
    hosts.push_back(std::make_unique<User>(*this, name.c_str(), &disk_));
    (void)hosts.back()->take(2);
  }
  // One after the other, each of those that wait gets its turn. With a search for the least in each
  // step of each round it would be 10^10 steps.
  const auto start = cpu_time();
  for (const auto& host : hosts) {
    turn();
    EXPECT_EQ(host->held(), 2u);
    host->stop();
  }
  EXPECT_LT(cpu_time() - start, std::chrono::seconds(20));
  EXPECT_EQ(staging_->in_use(), 0u);
}

}  // namespace
}  // namespace mrpool::engine
