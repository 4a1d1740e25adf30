// Both sides of DH-HMAC-CHAP against each other, and against what the other side must not do.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "absl/strings/escaping.h"
#include "examples/protocol/nvme/auth/controller_side.h"
#include "examples/protocol/nvme/auth/host_side.h"

namespace mrpool::nvme::auth {
namespace {

using testing::HasSubstr;
using Next = ControllerSide::Next;
using HostNext = HostSide::Next;
using Bytes = std::vector<std::byte>;

constexpr char kHost[] = "nqn.2026-11.org.example:host";
constexpr char kDisk[] = "nqn.2026-11.org.example:disk";

DhchapKey key_of(uint8_t byte, uint8_t transform = 1) {
  return {.key = Wiped(std::vector<uint8_t>(32, byte)), .transform = transform};
}

struct Pair {
  std::shared_ptr<HostKeys> keys = std::make_shared<HostKeys>(HostKeys{.host = key_of(1)});
  std::shared_ptr<HostSecrets> secrets =
      std::make_shared<HostSecrets>(HostSecrets{.key = key_of(1)});
  ControllerSide controller{kHost, kDisk};

  Pair() {
    // Fast ones; all groups are in the test that wants them.
    keys->groups = {Group::kNull};
  }
  HostSide host(uint16_t transaction = 1) { return {secrets, kHost, kDisk, transaction}; }
  Next send(const Bytes& message) {
    const Next next = controller.take(message, keys);
    if (next != Next::kWork) return next;
    controller.work();
    controller.worked();
    return Next::kGoOn;
  }
  // A whole transaction; how it ends for the host.
  HostNext run(HostSide& side) {
    EXPECT_EQ(send(side.first()), Next::kGoOn);
    for (int i = 0; i < 4; ++i) {
      const HostNext next = side.take(controller.answer());
      if (next == HostNext::kDone || next == HostNext::kFailed) return next;
      EXPECT_EQ(send(side.message()), Next::kGoOn);
      if (next != HostNext::kSend) return next;
    }
    ADD_FAILURE() << "no end";
    return HostNext::kFailed;
  }
};

Explanation explanation(const Bytes& message) {
  const auto header = parse_header(message);
  EXPECT_TRUE(header && header->type == Type::kCommon && header->id == Id::kFailure1);
  return parse_failure(message)->why;
}

TEST(DhChap, TheRightKeyIsAcceptedWithEveryHashAndGroup) {
  for (const Group group : kGroups) {
    for (const Hash hash : kHashes) {
      Pair pair;
      pair.keys->groups = {group};
      pair.keys->hashes = {hash};
      pair.keys->controller = key_of(2, 3);
      pair.secrets->controller_key = key_of(2, 3);
      HostSide host = pair.host();
      EXPECT_EQ(pair.run(host), HostNext::kSendLast) << to_string(hash) << to_string(group);
      EXPECT_TRUE(pair.controller.proven());
      EXPECT_EQ(pair.controller.expensive(), group != Group::kNull);
      EXPECT_THAT(pair.controller.description(), HasSubstr(", mutual"));
    }
  }
}

TEST(DhChap, OneWayNeedsNoProofOfTheController) {
  Pair pair;
  HostSide host = pair.host();
  EXPECT_EQ(pair.run(host), HostNext::kDone);
  EXPECT_TRUE(pair.controller.proven());
  EXPECT_FALSE(pair.controller.busy());
}

TEST(DhChap, AWrongKeyIsRefused) {
  for (const Group group : {Group::kNull, Group::kFfdhe2048}) {
    Pair pair;
    pair.keys->groups = {group};
    pair.secrets->key = key_of(9);
    HostSide host = pair.host();
    EXPECT_EQ(pair.run(host), HostNext::kFailed);
    EXPECT_THAT(std::string(host.status().message()), HasSubstr("--dhchap-secret must be the key"));
    EXPECT_FALSE(pair.controller.proven());
    EXPECT_TRUE(pair.controller.over());
    EXPECT_THAT(pair.controller.reason(), HasSubstr("its secret is not dhchap_key"));
    EXPECT_EQ(pair.send(host.first()), Next::kRefuse);
  }
}

TEST(DhChap, EachOfSeveralKeysProvesTheHost) {
  for (const uint8_t byte : {1, 4, 5, 9}) {
    Pair pair;
    pair.keys->others = {{.host = key_of(4), .controller = key_of(14)},
                         {.host = key_of(5), .controller = {}}};
    pair.secrets->key = key_of(byte);
    HostSide host = pair.host();
    EXPECT_EQ(pair.run(host), byte == 9 ? HostNext::kFailed : HostNext::kDone) << int(byte);
    EXPECT_EQ(pair.controller.proven(), byte != 9);
  }
}

TEST(DhChap, TheControllerProvesTheKeyOfThePair) {
  Pair pair;
  pair.keys->others = {{.host = key_of(4), .controller = key_of(14)}};
  pair.secrets->key = key_of(4);
  pair.secrets->controller_key = key_of(14);
  HostSide host = pair.host();
  EXPECT_EQ(pair.run(host), HostNext::kSendLast);
  EXPECT_TRUE(pair.controller.proven());
  // The other key has none with it.
  Pair lacks;
  lacks.keys->others = pair.keys->others;
  lacks.secrets->controller_key = key_of(14);
  HostSide other = lacks.host();
  EXPECT_EQ(lacks.run(other), HostNext::kFailed);
  EXPECT_THAT(lacks.controller.reason(), HasSubstr("has no dhchap_ctrlr_key here"));
  EXPECT_FALSE(lacks.controller.proven());
}

TEST(DhChap, AnotherTransformIsAnotherKey) {
  Pair pair;
  pair.secrets->key = key_of(1, 2);
  HostSide host = pair.host();
  EXPECT_EQ(pair.run(host), HostNext::kFailed);
}

TEST(DhChap, AHostOfAnotherNameIsRefused) {
  Pair pair;
  HostSide host(pair.secrets, "nqn.2026-11.org.example:other", kDisk, 1);
  EXPECT_EQ(pair.run(host), HostNext::kFailed);
}

TEST(DhChap, AControllerThatCannotProveItselfIsNotUsed) {
  Pair pair;
  pair.keys->controller = key_of(3);
  pair.secrets->controller_key = key_of(2);
  HostSide host = pair.host();
  EXPECT_EQ(pair.run(host), HostNext::kSendFailure);
  EXPECT_THAT(std::string(host.status().message()), HasSubstr("proves another secret"));
  EXPECT_FALSE(pair.controller.proven());
  EXPECT_TRUE(pair.controller.over());
  EXPECT_THAT(pair.controller.reason(), HasSubstr("is not dhchap_ctrlr_key"));
}

TEST(DhChap, AControllerWithoutAKeyReportsIt) {
  Pair pair;
  pair.secrets->controller_key = key_of(2);
  HostSide host = pair.host();
  EXPECT_EQ(pair.run(host), HostNext::kFailed);
  EXPECT_THAT(pair.controller.reason(), HasSubstr("has no dhchap_ctrlr_key here"));
}

// An impostor that leaves its proof out.
TEST(DhChap, AControllerThatProvesNothingIsNotUsed) {
  Pair pair;
  pair.keys->controller = pair.secrets->controller_key = key_of(2);
  HostSide host = pair.host();
  ASSERT_EQ(pair.send(host.first()), Next::kGoOn);
  ASSERT_EQ(host.take(pair.controller.answer()), HostNext::kSend);
  const Bytes nothing =
      to_bytes(Success1{.transaction = 1, .hash_bytes = 64, .proves = false, .response = {}});
  EXPECT_EQ(host.take(nothing), HostNext::kSendFailure);
  EXPECT_THAT(std::string(host.status().message()), HasSubstr("proves nothing"));
}

// What was recorded of an earlier proof is worth nothing.
TEST(DhChap, ARecordedReplyIsRefused) {
  Pair pair;
  HostSide host = pair.host();
  ASSERT_EQ(pair.send(host.first()), Next::kGoOn);
  const Bytes challenge = pair.controller.answer();
  ASSERT_EQ(host.take(challenge), HostNext::kSend);
  const Bytes recorded = host.message();
  Pair again;
  ASSERT_EQ(again.send(host.first()), Next::kGoOn);
  EXPECT_NE(again.controller.answer(), challenge);
  ASSERT_EQ(again.send(recorded), Next::kGoOn);
  EXPECT_EQ(explanation(again.controller.answer()), Explanation::kFailed);
  EXPECT_FALSE(again.controller.proven());
}

TEST(DhChap, ChallengesAreNeverUsedAgain) {
  std::set<std::string> seen;
  for (int i = 0; i < 100; ++i) {
    Pair pair;
    ASSERT_EQ(pair.send(pair.host().first()), Next::kGoOn);
    const Bytes answer = pair.controller.answer();
    const auto challenge = parse_challenge(answer);
    ASSERT_TRUE(challenge);
    seen.insert(std::string(challenge->challenge.begin(), challenge->challenge.end()));
  }
  EXPECT_EQ(seen.size(), 100u);
}

TEST(DhChap, AHostProvesItselfAgainAndStaysProvenMeanwhile) {
  Pair pair;
  HostSide first = pair.host(1);
  ASSERT_EQ(pair.run(first), HostNext::kDone);
  HostSide second = pair.host(2);
  ASSERT_EQ(pair.send(second.first()), Next::kGoOn);
  EXPECT_TRUE(pair.controller.proven());
  EXPECT_TRUE(pair.controller.busy());
  ASSERT_EQ(second.take(pair.controller.answer()), HostNext::kSend);
  ASSERT_EQ(pair.send(second.message()), Next::kGoOn);
  EXPECT_EQ(second.take(pair.controller.answer()), HostNext::kDone);
  EXPECT_TRUE(pair.controller.proven());
  // Another key by now.
  pair.keys = std::make_shared<HostKeys>(HostKeys{.host = key_of(7)});
  pair.keys->groups = {Group::kNull};
  HostSide third = pair.host(3);
  EXPECT_EQ(pair.run(third), HostNext::kFailed);
  EXPECT_FALSE(pair.controller.proven());
}

TEST(DhChap, NothingInCommonIsNamed) {
  Pair pair;
  pair.secrets->hashes = {Hash::kSha256};
  pair.keys->hashes = {Hash::kSha512};
  ASSERT_EQ(pair.send(pair.host().first()), Next::kGoOn);
  EXPECT_EQ(explanation(pair.controller.answer()), Explanation::kHashNotUsable);
  EXPECT_THAT(pair.controller.reason(), HasSubstr("dhchap_digests allows sha512"));

  Pair other;
  other.secrets->groups = {Group::kNull};
  other.keys->groups = {Group::kFfdhe4096};
  ASSERT_EQ(other.send(other.host().first()), Next::kGoOn);
  EXPECT_EQ(explanation(other.controller.answer()), Explanation::kGroupNotUsable);
  EXPECT_THAT(other.controller.reason(), HasSubstr("it offers null"));
}

TEST(DhChap, ASecureChannelIsRefused) {
  Pair pair;
  Bytes offer = pair.host().first();
  offer[6] = std::byte{1};
  ASSERT_EQ(pair.send(offer), Next::kGoOn);
  EXPECT_EQ(explanation(pair.controller.answer()), Explanation::kConcatenationMismatch);
}

TEST(DhChap, AHostWithoutAKeyAnyMoreIsRefused) {
  Pair pair;
  pair.keys = nullptr;
  ASSERT_EQ(pair.send(pair.host().first()), Next::kGoOn);
  EXPECT_EQ(explanation(pair.controller.answer()), Explanation::kFailed);
}

TEST(DhChap, MessagesOutOfSequenceEndIt) {
  {
    Pair pair;  // a success before anything
    ASSERT_EQ(pair.send(success2(1)), Next::kGoOn);
    EXPECT_EQ(explanation(pair.controller.answer()), Explanation::kIncorrectMessage);
  }
  {
    Pair pair;  // an offer after an offer
    ASSERT_EQ(pair.send(pair.host().first()), Next::kGoOn);
    ASSERT_EQ(pair.send(pair.host().first()), Next::kGoOn);
    EXPECT_EQ(explanation(pair.controller.answer()), Explanation::kIncorrectMessage);
  }
  {
    Pair pair;  // a look without a question
    EXPECT_EQ(explanation(pair.controller.answer()), Explanation::kIncorrectMessage);
    EXPECT_TRUE(pair.controller.answer().empty());
  }
  {
    Pair pair;  // a message while the work is under way
    ASSERT_EQ(pair.controller.take(pair.host().first(), pair.keys), Next::kWork);
    EXPECT_EQ(pair.controller.take(pair.host().first(), pair.keys), Next::kRefuse);
    EXPECT_TRUE(pair.controller.answer().empty());
  }
  {
    Pair pair;  // another transaction
    HostSide host = pair.host();
    ASSERT_EQ(pair.send(host.first()), Next::kGoOn);
    ASSERT_EQ(host.take(pair.controller.answer()), HostNext::kSend);
    Bytes reply = host.message();
    reply[4] = std::byte{9};
    ASSERT_EQ(pair.send(reply), Next::kGoOn);
    EXPECT_EQ(explanation(pair.controller.answer()), Explanation::kIncorrectPayload);
  }
}

TEST(DhChap, TooLittleRoomForAMessageEndsIt) {
  Pair pair;
  ASSERT_EQ(pair.send(pair.host().first()), Next::kGoOn);
  EXPECT_TRUE(pair.controller.answer(20).empty());
  EXPECT_EQ(explanation(pair.controller.answer(8)), Explanation::kIncorrectPayload);
}

TEST(DhChap, AHostRefusesWhatItDidNotOffer) {
  Pair pair;
  pair.secrets->hashes = {Hash::kSha256};
  HostSide host = pair.host();
  const std::vector<uint8_t> bytes(64, 1);
  EXPECT_EQ(host.take(to_bytes(Challenge{.transaction = 1,
                                         .hash = Hash::kSha512,
                                         .group = Group::kNull,
                                         .sequence = 1,
                                         .challenge = bytes,
                                         .value = {}})),
            HostNext::kSendFailure);
  EXPECT_EQ(parse_failure(host.message())->why, Explanation::kHashNotUsable);
}

TEST(DhChap, AValueOutsideOfTheGroupIsRefused) {
  Pair pair;
  pair.keys->groups = {Group::kFfdhe2048};
  HostSide host = pair.host();
  ASSERT_EQ(pair.send(host.first()), Next::kGoOn);
  ASSERT_EQ(host.take(pair.controller.answer()), HostNext::kSend);
  Bytes reply = host.message();
  std::fill(reply.end() - 256, reply.end(), std::byte{0});
  ASSERT_EQ(pair.send(reply), Next::kGoOn);
  EXPECT_EQ(explanation(pair.controller.answer()), Explanation::kIncorrectPayload);
}

}  // namespace
}  // namespace mrpool::nvme::auth
