#include "examples/gateway/records.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace mrpool::gateway {
namespace {

TEST(Records, OwnerIsReadAsItWasWritten) {
  const std::string text = serialize(OwnerRecord{.term = 7, .owner = "a", .client = "1.2.3.4:0/9"});
  EXPECT_EQ(text, "1 7 a 1.2.3.4:0/9");
  const auto record = parse_owner(text);
  ASSERT_TRUE(record);
  EXPECT_EQ(record->term, 7u);
  EXPECT_EQ(record->owner, "a");
  EXPECT_EQ(record->client, "1.2.3.4:0/9");
}

TEST(Records, NobodyOwns) {
  EXPECT_EQ(serialize(OwnerRecord{.term = 7}), "1 7");
  ASSERT_TRUE(parse_owner("1 7"));
  EXPECT_TRUE(parse_owner("1 7")->owner.empty());
  ASSERT_TRUE(parse_owner(""));
  EXPECT_EQ(parse_owner("")->term, 0u);
}

TEST(Records, OwnerIsRefused) {
  for (const char* text :
       {"2 7 a c", "1", "1 ", "1 7 a", "1 7 a c d", "1  7", "1 07", "1 -1", "1 7a", " 1 7",
        "1 7 a c ", "1 18446744073709551616", "1 7 a\tb c", "1 7 \xc3\xa4 c"}) {
    EXPECT_FALSE(parse_owner(text)) << text;
  }
}

TEST(Records, Member) {
  for (const MemberState state :
       {MemberState::kReady, MemberState::kUnfit, MemberState::kLeaving}) {
    const auto record = parse_member(serialize(MemberRecord{.beat = 12, .state = state}));
    ASSERT_TRUE(record);
    EXPECT_EQ(record->beat, 12u);
    EXPECT_EQ(record->state, state);
  }
  for (const char* text : {"", "1", "1 5", "1 5 gone", "1 x ready", "2 5 ready", "1 5 ready now"}) {
    EXPECT_FALSE(parse_member(text)) << text;
  }
}

TEST(Records, Fences) {
  EXPECT_EQ(serialize_fences({}), "");
  ASSERT_TRUE(parse_fences(""));
  EXPECT_TRUE(parse_fences("")->empty());
  const std::vector<std::string> clients = {"c1", "c2"};
  EXPECT_EQ(parse_fences(serialize_fences(clients)), clients);
  for (const char* text : {"1", "2 c1", "1 c1  c2", "1 c1 ", "c1"}) {
    EXPECT_FALSE(parse_fences(text)) << text;
  }
}

TEST(Records, Names) {
  EXPECT_TRUE(valid_name("gw-1.example"));
  EXPECT_TRUE(valid_name(std::string(255, 'x')));
  for (const std::string& name : {std::string(), std::string("a b"), std::string(256, 'x'),
                                  std::string("a\n"), std::string("\x7f")}) {
    EXPECT_FALSE(valid_name(name));
  }
}

TEST(Records, Keys) {
  EXPECT_EQ(owner_key("1"), "owner-1");
  EXPECT_EQ(beat_key("1"), "beat-1");
  EXPECT_EQ(fences_key("1"), "fences-1");
  EXPECT_EQ(reservations_key("u"), "pr-u");
  EXPECT_EQ(member_of_key(member_key("a")), "a");
  EXPECT_FALSE(member_of_key("owner-1"));
  EXPECT_FALSE(member_of_key("member-"));
  EXPECT_NE(beat_text(1, 2), beat_text(2, 1));
}

TEST(Records, MissingTextIsEmpty) {
  const Records records = {{"a", "x"}};
  EXPECT_EQ(text_of(records, "a"), "x");
  EXPECT_EQ(text_of(records, "b"), "");
}

}  // namespace
}  // namespace mrpool::gateway
