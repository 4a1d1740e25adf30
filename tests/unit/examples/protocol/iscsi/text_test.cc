#include "examples/protocol/iscsi/text.h"

#include <gtest/gtest.h>

#include "examples/protocol/iscsi/discovery.h"

namespace mrpool::iscsi {
namespace {

using std::string_literals::operator""s;

TEST(Text, PairsAreEndedByNul) {
  const std::string text = "A=1\0B=x=y\0C=\0"s;
  const auto pairs = parse_text(text);
  ASSERT_TRUE(pairs);
  ASSERT_EQ(pairs->size(), 3u);
  EXPECT_EQ(find(*pairs, "B"), "x=y");
  EXPECT_EQ(find(*pairs, "C"), "");
  EXPECT_EQ(find(*pairs, "D"), std::nullopt);
}

TEST(Text, LastPairMayLackItsNulAndPaddingIsSkipped) {
  EXPECT_EQ(parse_text("A=1")->size(), 1u);
  EXPECT_EQ(parse_text("A=1\0\0\0"s)->size(), 1u);
  EXPECT_TRUE(parse_text("")->empty());
}

TEST(Text, BrokenGrammarIsRefused) {
  // More keys than there are: work for nothing.
  std::string many;
  for (int i = 0; i < 200; ++i) many += "k" + std::to_string(i) + "=1" + '\0';
  EXPECT_FALSE(parse_text(many));
  EXPECT_FALSE(parse_text("A"));
  EXPECT_FALSE(parse_text("=1"));
  EXPECT_FALSE(parse_text("A B=1"));
  EXPECT_FALSE(parse_text("A=1\0A=2\0"s));
  EXPECT_FALSE(parse_text(std::string(64, 'k') + "=1"));
  EXPECT_TRUE(parse_text(std::string(63, 'k') + "=1"));
}

TEST(Text, NumbersAndBinaries) {
  EXPECT_EQ(parse_number("262144"), 262144u);
  EXPECT_EQ(parse_number("0x1F"), 31u);
  EXPECT_EQ(parse_number(""), std::nullopt);
  EXPECT_EQ(parse_number("1k"), std::nullopt);
  EXPECT_EQ(parse_number("-1"), std::nullopt);
  EXPECT_EQ(parse_number("99999999999999999999999"), std::nullopt);
  EXPECT_EQ(parse_binary("0xabc"), (std::vector<uint8_t>{0x0a, 0xbc}));
  EXPECT_EQ(parse_binary("0bTWFu"), (std::vector<uint8_t>{'M', 'a', 'n'}));
  EXPECT_EQ(parse_binary("0bTWE="), (std::vector<uint8_t>{'M', 'a'}));
  EXPECT_EQ(parse_binary("0xzz"), std::nullopt);
  EXPECT_EQ(parse_binary("0bA"), std::nullopt);
  EXPECT_EQ(parse_binary("12"), std::nullopt);
  EXPECT_EQ(format_hex(std::vector<uint8_t>{0x00, 0xff}), "0x00ff");
}

TEST(Text, NamesOfInitiatorsAndTargets) {
  EXPECT_TRUE(valid_iscsi_name("iqn.2026-11.org.example:disk0"));
  EXPECT_TRUE(valid_iscsi_name("eui.02004567A425678D"));
  EXPECT_FALSE(valid_iscsi_name("iqn."));
  EXPECT_FALSE(valid_iscsi_name("disk0"));
  EXPECT_FALSE(valid_iscsi_name("iqn.2026-11.org.example:a b"));
  EXPECT_TRUE(valid_iscsi_name("iqn.2026-11.org.example:größe"));
  EXPECT_FALSE(
      valid_iscsi_name("iqn.2026-11.org.example:\x9b"
                       "31m"))
      << "no UTF-8";
  EXPECT_FALSE(valid_iscsi_name("iqn.2026-11.org.example:\u202e")) << "turns the line around";
  EXPECT_FALSE(valid_iscsi_name("iqn." + std::string(220, 'x')));
}

const std::vector<TargetRecord> kTargets = {
    {.name = "iqn.a:1", .addresses = {"10.0.0.1:3260", "[::1]:3260"}, .portal_group_tag = 1},
    {.name = "iqn.a:2", .addresses = {"10.0.0.1:3260"}, .portal_group_tag = 2},
};

TEST(SendTargets, AllListsEveryVisibleTarget) {
  const auto text = answer_text("SendTargets=All\0"s, kTargets, "");
  ASSERT_TRUE(text);
  const auto targets = parse_targets(*text);
  ASSERT_TRUE(targets);
  ASSERT_EQ(targets->size(), 2u);
  EXPECT_EQ((*targets)[0].addresses, kTargets[0].addresses);
  EXPECT_EQ((*targets)[1].portal_group_tag, 2);
}

TEST(SendTargets, ANormalSessionSeesOnlyItsTarget) {
  EXPECT_EQ(answer_text("SendTargets=All\0"s, kTargets, "iqn.a:2"), "SendTargets=Reject\0"s);
  EXPECT_EQ(answer_text("SendTargets=\0"s, kTargets, "iqn.a:2"),
            "TargetName=iqn.a:2\0TargetAddress=10.0.0.1:3260,2\0"s);
  EXPECT_EQ(answer_text("SendTargets=iqn.a:1\0"s, kTargets, "iqn.a:2"), ""s);
}

TEST(SendTargets, OtherKeysAreNotUnderstoodAndBadTextIsNothing) {
  EXPECT_EQ(answer_text("X-foo=1\0"s, kTargets, ""), "X-foo=NotUnderstood\0"s);
  EXPECT_FALSE(answer_text("nonsense", kTargets, ""));
  EXPECT_FALSE(parse_targets("TargetAddress=1.2.3.4\0"s));
}

}  // namespace
}  // namespace mrpool::iscsi
