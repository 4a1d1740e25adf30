// The ways of a group between gateways, without faults of the cluster.
#include "examples/gateway/ownership.h"

#include <gtest/gtest.h>

#include "tests/unit/examples/gateway/ownership_fixture.h"

namespace mrpool::gateway {
namespace {

using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""ns;
using std::chrono_literals::operator""s;

TEST_F(OwnershipTest, AFreeGroupIsTakenWithTheLatestMap) {
  TestGateway a(records_, "a");
  a.live(1900ms);
  EXPECT_EQ(a.state(), State::kOut);  // others may be about to start, too
  a.live(100ms);
  EXPECT_EQ(a.state(), State::kFencing);
  // Nobody is to be fenced, but its client may not know of fences of before.
  const Action fence = a.expect(Kind::kFence);
  EXPECT_TRUE(fence.clients.empty());
  EXPECT_FALSE(a.has(Kind::kPrepare));
  a.ownership.fence_done(a.now, fence.id, true);
  EXPECT_EQ(a.state(), State::kPreparing);
  EXPECT_FALSE(a.serves());
  a.ownership.prepared(a.now, a.expect(Kind::kPrepare).id, true);
  EXPECT_EQ(a.expect(Kind::kServe).group, "1");
  EXPECT_TRUE(a.serves());
  EXPECT_EQ(records_["owner-1"], "1 1 a a#1");
  EXPECT_EQ(a.ownership.owner("1"), "a");
  EXPECT_EQ(a.ownership.term("1"), 1u);
}

TEST_F(OwnershipTest, TheLeaseIsRenewed) {
  TestGateway a(records_, "a");
  serve(a);
  const std::string beat = records_["beat-1"];
  a.live_well(20s);
  EXPECT_TRUE(a.serves());
  EXPECT_NE(records_["beat-1"], beat);
  EXPECT_EQ(records_["owner-1"], "1 1 a a#1");
  EXPECT_GT(a.ownership.serve_until("1"), a.now + 1400ms);
  EXPECT_LE(a.ownership.serve_until("1"), a.now + 2s);
}

TEST_F(OwnershipTest, ALeaseBeginsWhenItsRenewalIsSent) {
  TestGateway a(records_, "a");
  serve(a);
  std::optional<Action> renewal;
  Nanoseconds sent{};
  while (!renewal) {
    a.sleep(10ms);
    sent = a.now;
    renewal = a.write_of("beat-1");
  }
  a.sleep(1s);
  a.do_write(*renewal);
  EXPECT_EQ(a.ownership.serve_until("1"), sent + 2s);
}

TEST_F(OwnershipTest, AnOwnerWithoutRenewalStops) {
  TestGateway a(records_, "a");
  serve(a);
  const Nanoseconds end = a.ownership.serve_until("1");
  a.sleep(end - a.now - 1ns);
  EXPECT_TRUE(a.serves());
  EXPECT_FALSE(a.has(Kind::kStop));
  a.now += 1ns;
  EXPECT_FALSE(a.serves());  // even before wake()
  a.sleep(0ns);
  EXPECT_EQ(a.expect(Kind::kStop).group, "1");
  EXPECT_TRUE(a.has(Kind::kConnect));
  EXPECT_EQ(a.state(), State::kOut);
}

TEST_F(OwnershipTest, ADeadOwnersGroupIsTakenAndFenced) {
  TestGateway a(records_, "a"), b(records_, "b");
  live_well(a, b, 4s);
  ASSERT_TRUE(a.serves());
  ASSERT_FALSE(b.serves());
  const Nanoseconds died = b.now;
  while (b.state() == State::kOut) b.live(10ms);
  EXPECT_GE(b.now - died, 2s);
  EXPECT_LE(b.now - died, 3100ms);
  EXPECT_EQ(b.state(), State::kFencing);
  EXPECT_EQ(records_["owner-1"], "1 2 b b#1");
  EXPECT_EQ(records_["fences-1"], "1 a#1");
  const Action fence = b.expect(Kind::kFence);
  EXPECT_EQ(fence.clients, std::vector<std::string>{"a#1"});
  EXPECT_FALSE(b.has(Kind::kPrepare));
  b.ownership.fence_done(b.now, fence.id, true);
  EXPECT_EQ(b.state(), State::kClearing);
  b.exchange();
  EXPECT_EQ(records_["fences-1"], "");
  EXPECT_FALSE(b.serves());
  b.ownership.prepared(b.now, b.expect(Kind::kPrepare).id, true);
  EXPECT_TRUE(b.serves());
}

// By the clock of the slower gateway the owner has stopped before the faster one takes its group.
TEST_F(OwnershipTest, AnOwnerWithASlowClockStopsInTime) {
  TestGateway a(records_, "a"), b(records_, "b");
  live_well(a, b, 4s);
  const Nanoseconds died_a = a.now, died_b = b.now;
  while (b.state() == State::kOut) b.live(1ms);
  a.now = died_a + (b.now - died_b) * 80 / 100;
  EXPECT_FALSE(a.serves());
}

TEST_F(OwnershipTest, AWokenOwnerFindsItsTermGone) {
  TestGateway a(records_, "a"), b(records_, "b");
  live_well(a, b, 4s);
  const auto old_guard = a.ownership.guard("1");
  ASSERT_TRUE(old_guard);
  b.live_well(4s);
  ASSERT_TRUE(b.serves());
  EXPECT_EQ(b.fenced, std::vector<std::string>{"a#1"});
  a.now += 4s;
  EXPECT_FALSE(a.serves());
  EXPECT_NE(records_["owner-1"], old_guard->text);
  a.live_well(500ms);
  EXPECT_EQ(a.state(), State::kOut);
  EXPECT_EQ(a.ownership.owner("1"), "b");
  EXPECT_FALSE(a.ownership.guard("1"));
}

TEST_F(OwnershipTest, AReadThatShowsAnotherOwnerStopsIt) {
  TestGateway a(records_, "a");
  serve(a);
  records_["owner-1"] = "1 2 b b#1";
  a.live(600ms);
  EXPECT_EQ(a.expect(Kind::kStop).group, "1");
  EXPECT_FALSE(a.serves());
  EXPECT_EQ(a.ownership.term("1"), 2u);
}

TEST_F(OwnershipTest, ARestartedGatewayTakesItsGroupAtOnce) {
  {
    TestGateway a(records_, "a");
    serve(a);
  }
  records_["owner-1"] = "1 1 a old";
  TestGateway a(records_, "a");
  a.exchange();
  EXPECT_EQ(a.state(), State::kFencing);
  EXPECT_EQ(a.expect(Kind::kFence).clients, std::vector<std::string>{"old"});
}

TEST_F(OwnershipTest, WhoeverStoppedFencesItsOwnClient) {
  TestGateway a(records_, "a");
  serve(a);
  a.sleep(3s);
  a.live_well(100ms);
  EXPECT_EQ(a.fenced, std::vector<std::string>{"a#1"});
  EXPECT_EQ(records_["owner-1"], "1 2 a a#2");
  EXPECT_TRUE(a.serves());
}

TEST_F(OwnershipTest, FencesThatWereNotDoneAreInherited) {
  TestGateway a(records_, "a"), b(records_, "b");
  live_well(a, b, 4s);
  while (b.state() == State::kOut) b.live(10ms);
  TestGateway c(records_, "c");  // b dies with its fence begun
  c.live_well(4s);
  EXPECT_EQ(c.fenced, (std::vector<std::string>{"a#1", "b#1"}));
  EXPECT_TRUE(c.serves());
  EXPECT_EQ(records_["fences-1"], "");
}

TEST_F(OwnershipTest, ANewMemberGetsItsShareByADrain) {
  TestGateway a(records_, "a", {"1", "2"});
  a.live_well(3s);
  ASSERT_TRUE(a.serves("1") && a.serves("2"));
  TestGateway b(records_, "b", {"1", "2"});
  Nanoseconds waited{};
  for (; waited < 30s && a.state("2") == State::kServing; waited += 10ms) {
    a.live(10ms);
    b.live_well(10ms);
  }
  ASSERT_EQ(a.state("2"), State::kDraining);
  EXPECT_GE(waited, Times().rejoin) << "hosts have to connect to it first";
  EXPECT_FALSE(a.serves("2"));
  EXPECT_TRUE(a.serves("1"));
  const Action drain = a.expect(Kind::kDrain);
  live_well(a, b, 1s);
  EXPECT_EQ(a.state("2"), State::kDraining);  // still renewed
  EXPECT_FALSE(b.serves("2"));
  a.ownership.drained(a.now, drain.id, true);
  EXPECT_EQ(a.state("2"), State::kReleasing);
  a.exchange();
  EXPECT_EQ(records_["owner-2"], "1 1");
  EXPECT_EQ(a.state("2"), State::kOut);
  b.live_well(100ms);  // it does not wait for a lease, nor for the next regular read
  EXPECT_TRUE(b.serves("2"));
  EXPECT_TRUE(b.fenced.empty());
  live_well(a, b, 10s);
  EXPECT_TRUE(a.serves("1") && b.serves("2"));
}

TEST_F(OwnershipTest, AClientThatWasGivenBackServesAgain) {
  TestGateway a(records_, "a");
  serve(a);
  records_["owner-1"] = "1 1";  // as after a release
  TestGateway b(records_, "b");
  b.live_well(10s);
  ASSERT_TRUE(b.serves());
  EXPECT_TRUE(b.fenced.empty());
}

TEST_F(OwnershipTest, ALeavingGatewayGivesBack) {
  TestGateway a(records_, "a"), b(records_, "b");
  live_well(a, b, 6s);
  ASSERT_TRUE(a.serves());
  a.ownership.leave(a.now);
  EXPECT_FALSE(a.serves());
  EXPECT_FALSE(a.ownership.left());
  a.live_well(20ms);
  EXPECT_TRUE(a.ownership.left());
  EXPECT_EQ(*parse_owner(records_["owner-1"])->owner.c_str(), '\0');
  b.live_well(1600ms);  // a second at most, if it had not seen the leaving
  EXPECT_TRUE(b.serves());
  EXPECT_TRUE(b.fenced.empty());
  a.live_well(5s);
  EXPECT_EQ(a.state(), State::kOut);
}

TEST_F(OwnershipTest, ALeavingGatewayGivesBackWhatItHasNotServed) {
  TestGateway a(records_, "a"), b(records_, "b");
  live_well(a, b, 4s);
  while (b.state() == State::kOut) b.live(10ms);
  ASSERT_EQ(b.state(), State::kFencing);
  b.ownership.leave(b.now);
  b.exchange();
  EXPECT_TRUE(b.ownership.left());
  EXPECT_EQ(records_["owner-1"], "1 2");
  EXPECT_EQ(records_["fences-1"], "1 a#1");  // for the next
}

TEST_F(OwnershipTest, OnlyTheOneItBelongsToHurries) {
  records_["owner-1"] = "1 9";
  records_["owner-2"] = "1 9 b b#1";
  TestGateway a(records_, "a", {"1", "2"}), b(records_, "b", {"1", "2"});
  live_well(a, b, 2500ms);
  EXPECT_TRUE(a.serves("1"));
  EXPECT_TRUE(b.serves("2"));
}

TEST_F(OwnershipTest, AnotherTakesWhatNobodyTookAndKeepsIt) {
  records_["owner-1"] = "1 5";
  TestGateway a(records_, "a"), b(records_, "b");
  // It would be a's, but a gets no client.
  const auto live = [&](Nanoseconds time) {
    for (Nanoseconds t{}; t < time; t += kTick) {
      a.sleep(kTick);
      if (const auto beat = a.write_of("member-a")) a.do_write(*beat);
      if (a.has(Kind::kRead)) a.ownership.read_done(a.now, a.expect(Kind::kRead).id, records_);
      b.live_well(kTick);
    }
  };
  live(6s);
  ASSERT_TRUE(b.serves());
  live(20s);
  EXPECT_TRUE(b.serves());
  EXPECT_EQ(b.ownership.term("1"), 6u);
}

TEST_F(OwnershipTest, NextWakeIsEnough) {
  TestGateway a(records_, "a");
  for (int i = 0; i < 200; ++i) {
    a.serve_all();
    ASSERT_GT(a.ownership.next_wake(), a.now);
    ASSERT_LE(a.ownership.next_wake(), a.now + 500ms);
    a.sleep(a.ownership.next_wake() - a.now);
  }
  EXPECT_TRUE(a.serves());
  EXPECT_EQ(a.ownership.term("1"), 1u);
}

TEST_F(OwnershipTest, MembersAreThoseThatBeat) {
  records_["member-old"] = "1 5 ready";
  TestGateway a(records_, "a"), b(records_, "b");
  live_well(a, b, 3s);
  EXPECT_EQ(a.ownership.members(), std::vector<std::string>{"b"});
  a.live_well(4s);
  EXPECT_TRUE(a.ownership.members().empty());
}

}  // namespace
}  // namespace mrpool::gateway
