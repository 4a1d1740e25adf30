#include "examples/protocol/iscsi/chap.h"

#include <gtest/gtest.h>

#include "examples/protocol/iscsi/text.h"

namespace mrpool::iscsi {
namespace {

// Expected digests come from coreutils: printf '\001secretsecret0123' | md5sum, and so on.
TEST(Chap, ResponsesAreThoseOfTheHashes) {
  const std::vector<uint8_t> challenge = {'0', '1', '2', '3'};
  EXPECT_EQ(format_hex(chap_response(ChapAlgorithm::kMd5, 1, "secretsecret", challenge)),
            "0x6030a8f7516aa7f40d31d6f042e28e94");
  EXPECT_EQ(format_hex(chap_response(ChapAlgorithm::kSha1, 1, "secretsecret", challenge)),
            "0x2d6b9445fb14304cb83087438ab68a7337d1849c");
  EXPECT_EQ(format_hex(chap_response(ChapAlgorithm::kSha256, 1, "secretsecret", challenge)),
            "0x8efca7460185589320fb1f4ac330ecdbc53ec0be247c3d2bcf2fc6fb7f87ef08");
  EXPECT_EQ(chap_response(ChapAlgorithm::kSha3_256, 1, "secretsecret", challenge).size(), 32u);
}

TEST(Chap, TheStrongestCommonAlgorithmIsChosen) {
  EXPECT_EQ(choose_algorithm("5"), ChapAlgorithm::kMd5);
  EXPECT_EQ(choose_algorithm("5,6,7"), ChapAlgorithm::kSha256);
  EXPECT_EQ(choose_algorithm("5,8,6"), ChapAlgorithm::kSha3_256);
  EXPECT_EQ(choose_algorithm("4,99,x"), std::nullopt);
}

TEST(Chap, AChallengeAcceptsItsAnswerOnly) {
  const Challenge challenge = Challenge::make(ChapAlgorithm::kSha256, system_random);
  ASSERT_EQ(challenge.bytes.size(), Challenge::kSize);
  auto response =
      chap_response(challenge.algorithm, challenge.identifier, "twelve bytes", challenge.bytes);
  EXPECT_TRUE(challenge.verify("twelve bytes", response));
  EXPECT_FALSE(challenge.verify("twelve bytez", response));
  response.back() ^= 1;
  EXPECT_FALSE(challenge.verify("twelve bytes", response));
  EXPECT_FALSE(challenge.verify("twelve bytes", {}));
}

TEST(Chap, CredentialsAreUserAndSecret) {
  Credentials credentials;
  EXPECT_TRUE(parse_credentials("user:secret:with:colons", credentials).ok());
  EXPECT_EQ(credentials.user, "user");
  EXPECT_EQ(credentials.secret, "secret:with:colons");
  EXPECT_FALSE(parse_credentials("no colon here", credentials).ok());
  EXPECT_FALSE(parse_credentials(":twelve bytes", credentials).ok());
  EXPECT_FALSE(parse_credentials("user:short", credentials).ok());
  EXPECT_FALSE(parse_credentials("user:                ", credentials).ok());
  for (const char* blank : {"", " ", "\t\n"}) {
    const absl::Status status = parse_credentials(blank, credentials);
    EXPECT_NE(status.message().find("blank"), std::string::npos) << status;
  }
}

}  // namespace
}  // namespace mrpool::iscsi
