// What a gateway does when an action fails, or its result is late, lost or another than expected.
#include <gtest/gtest.h>

#include "examples/gateway/ownership.h"
#include "tests/unit/examples/gateway/ownership_fixture.h"

namespace mrpool::gateway {
namespace {

using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""ns;
using std::chrono_literals::operator""s;

class OwnershipErrorsTest : public OwnershipTest {
 protected:
  OwnershipErrorsTest() { records_["owner-1"] = "1 4 x x#1"; }
  // Until it has this state.
  static void reach(TestGateway& gateway, State state) {
    for (int i = 0; i < 1000 && gateway.state() != state; ++i) gateway.live(10ms);
    ASSERT_EQ(gateway.state(), state);
  }
  void reach_clearing(TestGateway& gateway) {
    reach(gateway, State::kFencing);
    gateway.ownership.fence_done(gateway.now, gateway.expect(Kind::kFence).id, true);
    ASSERT_EQ(gateway.state(), State::kClearing);
  }
  void reach_preparing(TestGateway& gateway) {
    reach_clearing(gateway);
    gateway.exchange();
    ASSERT_EQ(gateway.state(), State::kPreparing);
  }
  // The write that takes the group, which has not been done.
  Action taking(TestGateway& gateway) {
    for (int i = 0; i < 10000; ++i) {
      gateway.sleep(1ms);
      if (gateway.state() == State::kTaking) return *gateway.write_of("owner-1");
      gateway.exchange();
      if (gateway.state() == State::kTaking) break;
    }
    ADD_FAILURE() << "it does not take the group";
    return {};
  }
  // A gateway that is about to take it: one write is missing.
  Action stalled(TestGateway& gateway) {
    gateway.live(2490ms);
    return taking(gateway);
  }
  TestGateway a_{records_, "a"};
};

TEST_F(OwnershipErrorsTest, AReadThatFailedIsRepeated) {
  a_.ownership.read_done(a_.now, a_.expect(Kind::kRead).id, std::nullopt);
  EXPECT_FALSE(a_.has(Kind::kRead));
  a_.sleep(500ms);
  EXPECT_TRUE(a_.has(Kind::kRead));
  EXPECT_EQ(a_.state(), State::kOut);
}

TEST_F(OwnershipErrorsTest, WithoutAClientItTakesNothing) {
  const Action connect = a_.expect(Kind::kConnect);
  a_.ownership.connected(a_.now, connect.id, "");
  EXPECT_FALSE(a_.has(Kind::kConnect));
  a_.sleep(250ms);
  a_.ownership.connected(a_.now, a_.expect(Kind::kConnect).id, "not a name");
  a_.sleep(250ms);
  const Action third = a_.expect(Kind::kConnect);
  a_.live(5s);
  EXPECT_EQ(a_.state(), State::kOut);
  a_.ownership.connected(a_.now, third.id, "a#1");
  EXPECT_EQ(a_.state(), State::kTaking);
  EXPECT_EQ(parse_member(records_["member-a"])->state, MemberState::kUnfit);
}

TEST_F(OwnershipErrorsTest, AnotherWasFaster) {
  const Action take = taking(a_);
  records_["owner-1"] = "1 5 b b#1";
  EXPECT_EQ(a_.do_write(take), Written::kRefused);
  EXPECT_EQ(a_.state(), State::kOut);
  a_.live(100ms);  // it looks at once
  EXPECT_EQ(a_.ownership.owner("1"), "b");
  EXPECT_FALSE(a_.has(Kind::kStop));
}

TEST_F(OwnershipErrorsTest, TheOwnerRenewedAfterAll) {
  const Action take = taking(a_);
  records_["beat-1"] = "4.77";
  EXPECT_EQ(a_.do_write(take), Written::kRefused);
  a_.live(2400ms);
  EXPECT_EQ(a_.state(), State::kOut);
  EXPECT_EQ(records_["owner-1"], "1 4 x x#1");
}

TEST_F(OwnershipErrorsTest, ATakeoverWithoutAnAnswerHappensLater) {
  const Action take = taking(a_);
  a_.ownership.write_done(a_.now, take.id, Written::kUnknown);
  EXPECT_EQ(a_.state(), State::kOut);
  EXPECT_EQ(apply(records_, take.write), Written::kDone);
  a_.live(100ms);
  // It takes the group from itself. Its client is the record's and needs no fence.
  EXPECT_EQ(a_.state(), State::kFencing);
  EXPECT_EQ(records_["owner-1"], "1 6 a a#1");
  EXPECT_EQ(a_.expect(Kind::kFence).clients, std::vector<std::string>{"x#1"});
}

TEST_F(OwnershipErrorsTest, AClientThatAnotherWillFenceIsReplaced) {
  a_.exchange();
  records_["owner-1"] = "1 6 b b#1";
  records_["fences-1"] = "1 a#1";
  a_.live(600ms);
  reach(a_, State::kFencing);
  EXPECT_EQ(records_["owner-1"], "1 7 a a#2");
  EXPECT_EQ(a_.expect(Kind::kFence).clients, (std::vector<std::string>{"a#1", "b#1"}));
}

TEST_F(OwnershipErrorsTest, AFenceThatFailedIsRepeated) {
  reach(a_, State::kFencing);
  const Action first = a_.expect(Kind::kFence);
  a_.ownership.fence_done(a_.now, first.id, false);
  EXPECT_FALSE(a_.has(Kind::kFence));
  a_.sleep(250ms);
  const Action second = a_.expect(Kind::kFence);
  EXPECT_EQ(second.clients, first.clients);
  a_.ownership.fence_done(a_.now, first.id, true);  // that one is of the past
  EXPECT_EQ(a_.state(), State::kFencing);
  a_.ownership.fence_done(a_.now, second.id, true);
  EXPECT_EQ(a_.state(), State::kClearing);
}

TEST_F(OwnershipErrorsTest, WithoutAFenceItGivesUp) {
  reach(a_, State::kFencing);
  a_.live(8s);
  EXPECT_EQ(a_.expect(Kind::kStop).group, "1");
  EXPECT_EQ(records_["owner-1"], "1 5");
  EXPECT_EQ(records_["fences-1"], "1 x#1");
  a_.live(3s);
  EXPECT_EQ(parse_member(records_["member-a"])->state, MemberState::kUnfit);
  EXPECT_EQ(a_.state(), State::kOut);
  // There is no other gateway, so it tries again. What works makes it fit.
  a_.live_well(1500ms);
  EXPECT_TRUE(a_.serves());
  EXPECT_EQ(a_.fenced.back(), "x#1");
  EXPECT_EQ(parse_member(records_["member-a"])->state, MemberState::kReady);
}

TEST_F(OwnershipErrorsTest, AfterOneThatCannotFenceAnotherGoesFirst) {
  TestGateway b(records_, "b");
  for (Nanoseconds t{}; t < 12s; t += kTick) {
    a_.live(kTick);  // it would be a's
    b.live_well(kTick);
  }
  EXPECT_TRUE(b.serves());
  EXPECT_EQ(b.fenced, std::vector<std::string>{"x#1"});
}

TEST_F(OwnershipErrorsTest, OfTwoThatCouldNotFenceTheOneThatFailedFirstGoesFirst) {
  TestGateway b(records_, "b");
  const auto live = [&](Nanoseconds time) {
    for (Nanoseconds t{}; t < time; t += kTick) {
      a_.live(kTick);
      b.live(kTick);
    }
  };
  std::string owners;
  for (int i = 0; i < 4; ++i) {
    while (a_.state() != State::kFencing && b.state() != State::kFencing) live(kTick);
    owners += parse_owner(records_["owner-1"])->owner;
    while (a_.state() == State::kFencing || b.state() == State::kFencing) live(kTick);
  }
  EXPECT_EQ(owners, "abab");
}

TEST_F(OwnershipErrorsTest, ClearingIsRepeated) {
  reach_clearing(a_);
  const auto clear = a_.write_of("fences-1");
  ASSERT_TRUE(clear);
  a_.ownership.write_done(a_.now, clear->id, Written::kUnknown);
  EXPECT_EQ(a_.state(), State::kClearing);
  EXPECT_EQ(apply(records_, clear->write), Written::kDone);  // it did happen
  a_.live(250ms);
  EXPECT_EQ(a_.state(), State::kPreparing);
}

TEST_F(OwnershipErrorsTest, ClearingIsRefused) {
  reach_clearing(a_);
  const auto clear = a_.write_of("fences-1");
  ASSERT_TRUE(clear);
  records_["owner-1"] = "1 9 b b#1";
  a_.do_write(*clear);
  EXPECT_EQ(a_.state(), State::kOut);
  EXPECT_TRUE(a_.has(Kind::kStop));
}

TEST_F(OwnershipErrorsTest, PreparingIsRepeated) {
  reach_preparing(a_);
  a_.ownership.prepared(a_.now, a_.expect(Kind::kPrepare).id, false);
  EXPECT_FALSE(a_.has(Kind::kPrepare));
  a_.live(250ms);
  a_.ownership.prepared(a_.now, a_.expect(Kind::kPrepare).id, true);
  EXPECT_TRUE(a_.serves());
}

TEST_F(OwnershipErrorsTest, ItRenewsWhileItPrepares) {
  reach_preparing(a_);
  a_.live(5s);
  a_.ownership.prepared(a_.now, a_.expect(Kind::kPrepare).id, true);
  EXPECT_TRUE(a_.serves());
}

TEST_F(OwnershipErrorsTest, AfterALeaseThatEndedItRenewsBeforeItServes) {
  reach_preparing(a_);
  const Action prepare = a_.expect(Kind::kPrepare);
  a_.sleep(3s);
  a_.ownership.prepared(a_.now, prepare.id, true);
  EXPECT_FALSE(a_.serves());
  EXPECT_FALSE(a_.has(Kind::kServe));
  a_.exchange();
  EXPECT_TRUE(a_.has(Kind::kServe));
  EXPECT_TRUE(a_.serves());
}

TEST_F(OwnershipErrorsTest, FencedWhilePreparingItTakesANewClient) {
  reach_preparing(a_);
  a_.ownership.fenced(a_.now, "1");
  EXPECT_TRUE(a_.has(Kind::kStop));
  a_.live_well(200ms);
  EXPECT_TRUE(a_.serves());
  EXPECT_EQ(a_.fenced, std::vector<std::string>{"a#1"});
  EXPECT_EQ(records_["owner-1"], "1 6 a a#2");
}

TEST_F(OwnershipErrorsTest, FencedWhileOutItTakesANewClient) {
  a_.exchange();
  a_.ownership.fenced(a_.now, "1");
  EXPECT_TRUE(a_.has(Kind::kConnect));
  EXPECT_FALSE(a_.has(Kind::kStop));
  a_.ownership.fenced(a_.now, "no such group");
}

TEST_F(OwnershipErrorsTest, FencedWhileServingItStops) {
  serve(a_);
  a_.ownership.fenced(a_.now, "1");
  EXPECT_FALSE(a_.serves());
  EXPECT_TRUE(a_.has(Kind::kStop));
}

TEST_F(OwnershipErrorsTest, ARenewalWithoutAnAnswerIsNoRenewal) {
  serve(a_);
  const Nanoseconds end = a_.ownership.serve_until("1");
  while (a_.serves()) {
    a_.sleep(10ms);
    if (const auto renewal = a_.write_of("beat-1")) {
      a_.ownership.write_done(a_.now, renewal->id, Written::kUnknown);
    }
  }
  EXPECT_GE(a_.now, end);
  EXPECT_LE(a_.now, end + 10ms);
  EXPECT_TRUE(a_.has(Kind::kStop));
}

TEST_F(OwnershipErrorsTest, ARenewalThatIsRefusedStopsIt) {
  serve(a_);
  std::optional<Action> renewal;
  while (!renewal) {
    a_.sleep(10ms);
    renewal = a_.write_of("beat-1");
  }
  a_.ownership.write_done(a_.now, renewal->id, Written::kRefused);
  EXPECT_FALSE(a_.serves());
  EXPECT_TRUE(a_.has(Kind::kStop));
  a_.ownership.write_done(a_.now, renewal->id, Written::kDone);  // twice: ignored
  EXPECT_FALSE(a_.serves());
}

class DrainTest : public OwnershipErrorsTest {
 protected:
  // Until it drains because it leaves.
  Action drain() {
    serve(a_);
    a_.ownership.leave(a_.now);
    return a_.expect(Kind::kDrain);
  }
};

TEST_F(DrainTest, WhatEndedWithoutAnAnswerIsFenced) {
  a_.ownership.drained(a_.now, drain().id, false);
  EXPECT_TRUE(a_.has(Kind::kStop));
  a_.exchange();
  EXPECT_EQ(records_["owner-1"], "1 5");
  EXPECT_EQ(records_["fences-1"], "1 a#1");
  EXPECT_TRUE(a_.ownership.left());
}

TEST_F(DrainTest, WhatDoesNotEndIsFenced) {
  const Action late = drain();
  a_.live(4900ms);
  EXPECT_EQ(a_.state(), State::kDraining);
  a_.live(100ms);
  EXPECT_EQ(records_["fences-1"], "1 a#1");
  EXPECT_TRUE(a_.ownership.left());
  a_.ownership.drained(a_.now, late.id, true);
  EXPECT_EQ(a_.state(), State::kOut);
}

TEST_F(DrainTest, TheLeaseEndsMeanwhile) {
  drain();
  a_.sleep(3s);
  EXPECT_TRUE(a_.has(Kind::kStop));
  EXPECT_EQ(a_.state(), State::kOut);
  EXPECT_EQ(records_["owner-1"], "1 5 a a#1");  // the next one fences it
}

TEST_F(DrainTest, AReleaseIsRefused) {
  a_.ownership.drained(a_.now, drain().id, true);
  const auto release = a_.write_of("owner-1");
  ASSERT_TRUE(release);
  a_.ownership.write_done(a_.now, release->id, Written::kRefused);
  EXPECT_TRUE(a_.has(Kind::kStop));
  EXPECT_EQ(a_.state(), State::kOut);
}

TEST_F(OwnershipErrorsTest, AReleaseWithoutAnAnswerHappensAfterTheNextTerm) {
  serve(a_);
  TestGateway b(records_, "b");
  records_["owner-0"] = "";
  a_.ownership.leave(a_.now);
  a_.ownership.drained(a_.now, a_.expect(Kind::kDrain).id, true);
  const auto release = a_.write_of("owner-1");
  ASSERT_TRUE(release);
  a_.ownership.write_done(a_.now, release->id, Written::kUnknown);
  b.live_well(4s);
  ASSERT_TRUE(b.serves());
  EXPECT_EQ(b.fenced, std::vector<std::string>{"a#1"});
  EXPECT_EQ(apply(records_, release->write), Written::kRefused);
}

TEST_F(OwnershipErrorsTest, AReadFromBeforeItsOwnWriteIsIgnored) {
  const Records before = records_;
  while (true) {  // a read is under way when the takeover is sent
    a_.sleep(1ms);
    const bool takes = a_.state() == State::kTaking;
    if (takes && a_.has(Kind::kRead)) break;
    if (!takes) a_.exchange();
    ASSERT_LT(a_.now, 1010s);
    if (!takes && a_.state() == State::kFencing) GTEST_FAIL() << "no read at the takeover";
  }
  const Action read = a_.expect(Kind::kRead);
  a_.do_write(*a_.write_of("owner-1"));
  ASSERT_EQ(a_.state(), State::kFencing);
  a_.ownership.read_done(a_.now, read.id, before);
  EXPECT_EQ(a_.state(), State::kFencing);
  a_.live(600ms);
  EXPECT_EQ(a_.state(), State::kFencing);
}

TEST_F(OwnershipErrorsTest, AnUnknownRecordIsLeftAlone) {
  records_["owner-1"] = "2 something new";
  a_.live_well(10s);
  EXPECT_EQ(a_.state(), State::kOut);
  EXPECT_NE(a_.ownership.problem("1").find("owner-1"), std::string::npos);
  records_["owner-1"] = "1 4";
  records_["fences-1"] = "2 x";
  a_.live_well(10s);
  EXPECT_NE(a_.ownership.problem("1").find("fences-1"), std::string::npos);
  EXPECT_EQ(records_["owner-1"], "1 4");
  records_["fences-1"] = "";
  a_.live_well(3s);
  EXPECT_TRUE(a_.serves());
  EXPECT_EQ(a_.ownership.problem("1"), "");
}

TEST_F(OwnershipErrorsTest, OfTwoWithOneNameTheOlderOneServes) {
  serve(a_);
  TestGateway twin(records_, "a");
  live_well(a_, twin, 3s);  // it mistakes the record for one of a process before it, once
  EXPECT_TRUE(a_.serves());
  const uint64_t term = a_.ownership.term("1");
  live_well(a_, twin, 20s);
  EXPECT_TRUE(a_.serves());
  EXPECT_EQ(a_.ownership.term("1"), term);
  EXPECT_EQ(a_.ownership.problem("1"), "");
  EXPECT_EQ(twin.state(), State::kOut);
  EXPECT_EQ(twin.ownership.problem("1"), "another gateway is called a");
  TestGateway third(records_, "a");
  live_well(a_, third, 3s);
  third.ownership.leave(third.now);
  EXPECT_TRUE(third.ownership.left());  // the record is not its own
  EXPECT_TRUE(a_.serves());
  twin.live_well(6s);  // the other ones have ended
  EXPECT_TRUE(twin.serves());
  EXPECT_EQ(twin.ownership.problem("1"), "");
}

TEST_F(OwnershipErrorsTest, RecordsThatDisappearedAreMadeAgainWithAHigherTerm) {
  serve(a_);
  records_.clear();
  a_.live_well(5s);
  EXPECT_TRUE(a_.serves());
  EXPECT_EQ(records_["owner-1"], "1 6 a a#2");
}

TEST_F(OwnershipErrorsTest, AGroupThatDoesNotExist) {
  EXPECT_EQ(a_.ownership.state("2"), State::kOut);
  EXPECT_FALSE(a_.ownership.may_serve("2", a_.now));
  EXPECT_FALSE(a_.ownership.guard("2"));
  EXPECT_EQ(a_.ownership.term("2"), 0u);
  EXPECT_EQ(a_.ownership.owner("2"), "");
  EXPECT_EQ(a_.ownership.problem("2"), "");
}

TEST(OwnershipState, Names) {
  EXPECT_EQ(to_string(State::kOut), "out");
  EXPECT_EQ(to_string(State::kReleasing), "releasing");
}

}  // namespace
}  // namespace mrpool::gateway
