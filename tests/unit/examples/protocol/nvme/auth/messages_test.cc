#include "examples/protocol/nvme/auth/messages.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "absl/strings/escaping.h"

namespace mrpool::nvme::auth {
namespace {

using testing::ElementsAre;

std::string hex(std::span<const std::byte> bytes) {
  return absl::BytesToHexString(
      absl::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

const std::vector<uint8_t> kResponse(32, 0x11), kChallenge(32, 0x22), kValue(256, 0x33);

TEST(AuthMessages, NegotiateIsAsOnTheWire) {
  const auto bytes = to_bytes(Negotiate{.transaction = 0x1234,
                                        .secure_channel = 0,
                                        .hashes = {Hash::kSha256, Hash::kSha512},
                                        .groups = {Group::kNull, Group::kFfdhe8192},
                                        .dhchap = true});
  ASSERT_EQ(bytes.size(), 72u);
  EXPECT_EQ(hex(bytes).substr(0, 32),
            "0000000034120001"
            "01000202"
            "01030000");
  EXPECT_EQ(hex(bytes).substr(2 * (8 + 4 + 30), 8), "00050000");
  const auto read = parse_negotiate(bytes);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->transaction, 0x1234);
  EXPECT_TRUE(read->dhchap);
  EXPECT_THAT(read->hashes, ElementsAre(Hash::kSha256, Hash::kSha512));
  EXPECT_THAT(read->groups, ElementsAre(Group::kNull, Group::kFfdhe8192));
}

TEST(AuthMessages, UnknownPartsOfAnOfferAreIgnored) {
  auto bytes = to_bytes(Negotiate{.transaction = 1,
                                  .secure_channel = 0,
                                  .hashes = {Hash(9), Hash::kSha384},
                                  .groups = {Group(77), Group::kFfdhe2048},
                                  .dhchap = true});
  EXPECT_THAT(parse_negotiate(bytes)->hashes, ElementsAre(Hash::kSha384));
  EXPECT_THAT(parse_negotiate(bytes)->groups, ElementsAre(Group::kFfdhe2048));
  bytes[10] = std::byte{31};  // more hashes than there is room for
  EXPECT_FALSE(parse_negotiate(bytes));
  bytes[10] = std::byte{2};
  bytes[7] = std::byte{2};  // two protocols, of which one is there
  EXPECT_FALSE(parse_negotiate(bytes));
  bytes[7] = std::byte{1};
  bytes[8] = std::byte{2};  // another protocol
  ASSERT_TRUE(parse_negotiate(bytes));
  EXPECT_FALSE(parse_negotiate(bytes)->dhchap);
}

TEST(AuthMessages, ChallengeIsAsOnTheWire) {
  const auto bytes = to_bytes(Challenge{.transaction = 7,
                                        .hash = Hash::kSha256,
                                        .group = Group::kFfdhe2048,
                                        .sequence = 0x01020304,
                                        .challenge = kChallenge,
                                        .value = kValue});
  ASSERT_EQ(bytes.size(), 16u + 32 + 256);
  EXPECT_EQ(hex(bytes).substr(0, 34),
            "010100000700"
            "2000"
            "0101"
            "0001"
            "04030201"
            "22");
  const auto read = parse_challenge(bytes);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->sequence, 0x01020304u);
  EXPECT_EQ(read->value.size(), 256u);
  EXPECT_EQ(read->value[0], 0x33);
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(parse_challenge(std::span(bytes).first(size))) << size;
  }
}

TEST(AuthMessages, ReplyIsAsOnTheWire) {
  const Reply reply{.transaction = 7,
                    .sequence = 5,
                    .challenges = true,
                    .response = kResponse,
                    .challenge = kChallenge,
                    .value = kValue};
  const auto bytes = to_bytes(reply);
  ASSERT_EQ(bytes.size(), 16u + 2 * 32 + 256);
  EXPECT_EQ(hex(bytes).substr(0, 32),
            "010200000700"
            "2000"
            "0100"
            "0001"
            "05000000");
  const auto read = parse_reply(bytes);
  ASSERT_TRUE(read);
  EXPECT_TRUE(read->challenges);
  EXPECT_EQ(read->response[0], 0x11);
  EXPECT_EQ(read->challenge[0], 0x22);
  EXPECT_EQ(read->value[0], 0x33);
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(parse_reply(std::span(bytes).first(size))) << size;
  }
  // The room of a challenge is there without one.
  const auto plain = to_bytes(Reply{.transaction = 7,
                                    .sequence = 0,
                                    .challenges = false,
                                    .response = kResponse,
                                    .challenge = {},
                                    .value = {}});
  EXPECT_EQ(plain.size(), 16u + 2 * 32);
  EXPECT_FALSE(parse_reply(plain)->challenges);
}

TEST(AuthMessages, EndsAreAsOnTheWire) {
  const auto success =
      to_bytes(Success1{.transaction = 7, .hash_bytes = 32, .proves = true, .response = kResponse});
  EXPECT_EQ(hex(success).substr(0, 34),
            "010300000700"
            "2000"
            "0100000000000000"
            "11");
  ASSERT_TRUE(parse_success1(success));
  EXPECT_EQ(parse_success1(success)->response.size(), 32u);
  EXPECT_FALSE(parse_success1(std::span(success).first(20)));
  EXPECT_EQ(to_bytes(Success1{.transaction = 7, .hash_bytes = 32, .proves = false, .response = {}})
                .size(),
            16u);
  EXPECT_EQ(hex(success2(7)), "01040000070000000000000000000000");
  const auto failure =
      to_bytes(Id::kFailure1, Failure{.transaction = 7, .why = Explanation::kGroupNotUsable});
  EXPECT_EQ(hex(failure), "00f1000007000105");
  EXPECT_EQ(hex(to_bytes(Id::kFailure2, *parse_failure(failure))), "00f0000007000105");
  EXPECT_EQ(parse_failure(failure)->why, Explanation::kGroupNotUsable);
  EXPECT_FALSE(parse_failure(std::span(failure).first(7)));
}

}  // namespace
}  // namespace mrpool::nvme::auth
