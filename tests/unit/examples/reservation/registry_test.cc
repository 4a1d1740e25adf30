#include "examples/reservation/registry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace mrpool::reservation {
namespace {

using ::testing::ElementsAre;

class RegistryTest : public testing::Test {
 protected:
  RegistryTest() {
    state.set_key("alice", 0xa);
    state.set_key("bob", 0xb);
  }
  static std::vector<std::string> told(const Outcome& outcome, Event event) {
    std::vector<std::string> who;
    for (const Notice& notice : outcome.notices) {
      if (notice.event == event) who.push_back(notice.who);
    }
    return who;
  }
  std::vector<uint64_t> keys() const {
    std::vector<uint64_t> all;
    for (const Registration& each : state.registrations()) all.push_back(each.key);
    return all;
  }

  Registry state;
};

// SPC-4 table 65 and [base] 8.19 figure "Command Behavior in the Presence of a Reservation": what
// the holder, another registrant and a stranger may do.
struct Row {
  Type type;
  bool registrant_reads, registrant_writes, stranger_reads, stranger_writes;
};

class Matrix : public RegistryTest, public testing::WithParamInterface<Row> {};

TEST_P(Matrix, AsTheStandardsSay) {
  const Row& row = GetParam();
  EXPECT_TRUE(state.allows("carol", Access::kWrite));  // nobody holds anything yet
  ASSERT_EQ(state.reserve("alice", row.type).result, Result::kDone);
  for (const char* who : {"alice", "bob", "carol"}) EXPECT_TRUE(state.allows(who, Access::kFree));
  EXPECT_TRUE(state.allows("alice", Access::kRead));
  EXPECT_TRUE(state.allows("alice", Access::kWrite));
  EXPECT_EQ(state.allows("bob", Access::kRead), row.registrant_reads);
  EXPECT_EQ(state.allows("bob", Access::kWrite), row.registrant_writes);
  EXPECT_EQ(state.allows("carol", Access::kRead), row.stranger_reads);
  EXPECT_EQ(state.allows("carol", Access::kWrite), row.stranger_writes);
  EXPECT_EQ(state.holds("bob"), all_registrants(row.type));
  EXPECT_FALSE(state.holds("carol"));
}

INSTANTIATE_TEST_SUITE_P(
    All, Matrix,
    testing::Values(Row{Type::kWriteExclusive, true, false, true, false},
                    Row{Type::kExclusiveAccess, false, false, false, false},
                    Row{Type::kWriteExclusiveRegistrantsOnly, true, true, true, false},
                    Row{Type::kExclusiveAccessRegistrantsOnly, true, true, false, false},
                    Row{Type::kWriteExclusiveAllRegistrants, true, true, true, false},
                    Row{Type::kExclusiveAccessAllRegistrants, true, true, false, false}));

TEST_F(RegistryTest, TheGenerationCountsChangesOfRegistrations) {
  EXPECT_EQ(state.generation(), 2u);
  state.reserve("alice", Type::kWriteExclusive);
  state.release("alice", Type::kWriteExclusive);
  EXPECT_EQ(state.generation(), 2u);
  state.preempt("alice", 0xb, Type::kWriteExclusive, false);
  EXPECT_EQ(state.generation(), 3u);
  state.clear("alice");
  EXPECT_EQ(state.generation(), 4u);
}

TEST_F(RegistryTest, PreemptTakesTheReservationAndTheRegistrationsOfItsKey) {
  state.set_key("carol", 0xb);
  state.set_key("dave", 0xd);
  state.reserve("bob", Type::kExclusiveAccess);
  const Outcome outcome = state.preempt("alice", 0xb, Type::kWriteExclusiveRegistrantsOnly, true);
  EXPECT_EQ(outcome.result, Result::kDone);
  EXPECT_THAT(keys(), ElementsAre(0xa, 0xd));
  EXPECT_TRUE(state.holds("alice"));
  EXPECT_EQ(state.type(), Type::kWriteExclusiveRegistrantsOnly);
  EXPECT_THAT(told(outcome, Event::kRegistrationPreempted), ElementsAre("bob", "carol"));
  EXPECT_THAT(told(outcome, Event::kReservationReleased), ElementsAre("dave"));
  EXPECT_THAT(outcome.fenced, ElementsAre("bob", "carol"));
}

TEST_F(RegistryTest, PreemptOfAllRegistrants) {
  state.set_key("carol", 0xc);
  state.reserve("bob", Type::kExclusiveAccessAllRegistrants);
  EXPECT_EQ(state.preempt("alice", 0xc, std::nullopt, false).result, Result::kDone);
  EXPECT_THAT(keys(), ElementsAre(0xa, 0xb));
  EXPECT_TRUE(state.holds("bob"));  // the reservation stays
  EXPECT_EQ(state.preempt("alice", 0, std::nullopt, false).result, Result::kWrongType);
  EXPECT_EQ(state.preempt("alice", 0, Type::kWriteExclusive, false).result, Result::kDone);
  EXPECT_THAT(keys(), ElementsAre(0xa));
  EXPECT_EQ(state.type(), Type::kWriteExclusive);
}

TEST_F(RegistryTest, PreemptOfNobody) {
  EXPECT_EQ(state.preempt("alice", 0xc, Type::kWriteExclusive, false).result, Result::kConflict);
  EXPECT_EQ(state.preempt("alice", 0, Type::kWriteExclusive, false).result, Result::kNoKey);
  EXPECT_EQ(state.generation(), 2u);
}

TEST_F(RegistryTest, MoreThanItHolds) {
  for (size_t i = 2; i < Registry::kMaxRegistrations; ++i) {
    ASSERT_TRUE(state.set_key("host" + std::to_string(i), 1).changed);
  }
  EXPECT_EQ(state.set_key("carol", 1).result, Result::kFull);
  EXPECT_TRUE(state.set_key("alice", 1).changed);
}

TEST_F(RegistryTest, TheStateIsRestoredAsAWhole) {
  EXPECT_EQ(state.serialize(), "");
  state.set_persistent(true);
  for (const auto type : {Type::kExclusiveAccess, Type::kWriteExclusiveAllRegistrants}) {
    state.reserve("alice", type);
    const std::string text = state.serialize();
    const auto restored = Registry::parse(text, &Registry::valid_name);
    ASSERT_TRUE(restored);
    EXPECT_EQ(restored->serialize(), text);
    EXPECT_TRUE(restored->holds("alice"));
    EXPECT_EQ(restored->generation(), state.generation());
    EXPECT_TRUE(restored->persistent());
    state.release("alice", type);
  }
}

TEST_F(RegistryTest, AnotherGatewayGetsWhatDoesNotPersist) {
  state.reserve("alice", Type::kExclusiveAccess);
  const std::string text = state.serialize_all();
  const auto moved = Registry::parse(text, &Registry::valid_name);
  ASSERT_TRUE(moved);
  EXPECT_TRUE(moved->holds("alice"));
  EXPECT_FALSE(moved->persistent());
  EXPECT_EQ(moved->generation(), state.generation());
  EXPECT_EQ(moved->serialize_all(), text);
  EXPECT_EQ(moved->serialize(), "");
  EXPECT_FALSE(Registry::parse(text + "state 1 0 \n", &Registry::valid_name));
  const auto nobody = Registry::parse(Registry().serialize_all(), &Registry::valid_name);
  EXPECT_TRUE(nobody && nobody->registrations().empty());
}

TEST_F(RegistryTest, WhatWasCutOrChangedIsRefused) {
  state.set_persistent(true);
  state.reserve("alice", Type::kExclusiveAccess);
  const std::string text = state.serialize();
  for (size_t length = 1; length < text.size(); ++length) {
    EXPECT_FALSE(Registry::parse(text.substr(0, length), &Registry::valid_name)) << length;
  }
  for (const char* bad :
       {"nonsense\n", "keys 1\n", "keys x\naptpl 1 0 \n", "aptpl x 0 \n", "aptpl 1 2 \n",
        "aptpl 1 1 alice\n", "aptpl 1 0 alice\n", "aptpl 1 7 \n", "key 1 alice\n",
        "aptpl 1 0 \naptpl 1 0 \n", "aptpl 1 0 \nkey 1 a\nkey 2 a\n", "aptpl 1 0 \nkey 1 a b\n",
        "aptpl 1 0 \nkey 1 \n", "keys 2\naptpl 1 0 \nkey 1 a\n"}) {
    EXPECT_FALSE(Registry::parse(bad, &Registry::valid_name)) << bad;
  }
  EXPECT_TRUE(Registry::parse("", &Registry::valid_name));
  // As earlier releases wrote it.
  EXPECT_TRUE(Registry::parse("aptpl 1 1 a\nkey 1 a\n", &Registry::valid_name));
}

}  // namespace
}  // namespace mrpool::reservation
