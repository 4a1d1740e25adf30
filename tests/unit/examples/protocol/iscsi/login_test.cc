#include "examples/protocol/iscsi/login.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "examples/protocol/iscsi/initiator_login.h"

namespace mrpool::iscsi {
namespace {

using std::string_literals::operator""s;
using testing::HasSubstr;

constexpr std::string_view kInitiator = "iqn.2026-11.org.example:host";
constexpr std::string_view kTarget = "iqn.2026-11.org.example:disk";
const Credentials kIncoming{"alice", "alice has a secret"};
const Credentials kOutgoing{"target", "so does the target"};

struct Host final : LoginHost {
  Found found;
  Admitted admitted{.tsih = 7};
  std::vector<Identity> sessions;
  int guesses = 3;
  bool may_prove() override { return guesses > 0; }
  void proof_failed() override { --guesses; }
  Found find_target(std::string_view target, std::string_view initiator) override {
    if (initiator != kInitiator) return {.status = LoginStatus::kAuthorizationFailure};
    if (!target.empty() && target != kTarget) return {.status = LoginStatus::kTargetNotFound};
    return found;
  }
  Admitted admit(const Identity& identity) override {
    sessions.push_back(identity);
    return admitted;
  }
};

void counting_random(std::span<uint8_t> out) {
  static uint8_t next = 0;
  for (uint8_t& byte : out) byte = next++;
}

class LoginTest : public testing::Test {
 protected:
  Login::Answer send(uint8_t stage, bool transit, uint8_t next, std::string text) {
    LoginRequest request{.transit = transit,
                         .current_stage = stage,
                         .next_stage = next,
                         .data_length = uint32_t(text.size()),
                         .isid = {1, 2, 3, 4, 5, 6},
                         .task_tag = 1,
                         .cmd_sn = 40,
                         .exp_stat_sn = 50};
    return login.on_request(request, text);
  }
  std::string names() {
    return "InitiatorName=" + std::string(kInitiator) + "\0TargetName="s + std::string(kTarget) +
           "\0"s;
  }

  Host host;
  Limits limits;
  Login login{host, limits, counting_random};
};

TEST_F(LoginTest, OperationalStageAloneIsEnoughWithoutSecrets) {
  const auto answer = send(1, true, 3, names() + "RDMAExtensions=Yes\0InitialR2T=No\0"s);
  EXPECT_TRUE(answer.finished);
  EXPECT_TRUE(answer.response.transit);
  EXPECT_EQ(answer.response.next_stage, 3);
  EXPECT_EQ(answer.response.tsih, 7);
  EXPECT_EQ(answer.response.window.stat_sn, 50u);
  EXPECT_EQ(login.next_stat_sn(), 51u);
  EXPECT_EQ(login.cmd_sn(), 40u);
  EXPECT_THAT(answer.text, HasSubstr("RDMAExtensions=Yes\0InitialR2T=Yes\0"s));
  EXPECT_THAT(answer.text, HasSubstr("TargetPortalGroupTag=1\0"s));
  ASSERT_EQ(host.sessions.size(), 1u);
  EXPECT_EQ(host.sessions[0].target, kTarget);
}

TEST_F(LoginTest, ANormalSessionNeedsTheRdmaExtensions) {
  const auto answer = send(1, true, 3, names());
  EXPECT_TRUE(answer.failed);
  EXPECT_EQ(answer.response.status, LoginStatus::kInitiatorError);
  EXPECT_TRUE(host.sessions.empty());
}

TEST_F(LoginTest, MissingNamesAreMissingParameters) {
  EXPECT_EQ(send(1, true, 3, "TargetName=x\0"s).response.status, LoginStatus::kMissingParameter);
}

TEST_F(LoginTest, MissingTargetNameToo) {
  EXPECT_EQ(send(1, true, 3, "InitiatorName="s + std::string(kInitiator)).response.status,
            LoginStatus::kMissingParameter);
}

TEST_F(LoginTest, ANormalSessionHasATargetWithAName) {
  EXPECT_EQ(send(1, true, 3, "InitiatorName="s + std::string(kInitiator) + "\0TargetName=\0"s)
                .response.status,
            LoginStatus::kMissingParameter);
}

TEST_F(LoginTest, UnknownTargetIsNotFound) {
  EXPECT_EQ(send(1, true, 3, "InitiatorName="s + std::string(kInitiator) + "\0TargetName=iqn.x\0"s)
                .response.status,
            LoginStatus::kTargetNotFound);
}

TEST_F(LoginTest, AnInitiatorOffTheListIsNotAuthorized) {
  EXPECT_EQ(send(1, true, 3, "InitiatorName=iqn.2026-11.org.example:other\0TargetName=iqn.x\0"s)
                .response.status,
            LoginStatus::kAuthorizationFailure);
}

TEST_F(LoginTest, UnknownSessionType) {
  EXPECT_EQ(send(1, true, 3, names() + "SessionType=Odd\0"s).response.status,
            LoginStatus::kSessionTypeNotSupported);
}

TEST_F(LoginTest, VersionMismatch) {
  LoginRequest request{
      .transit = true, .current_stage = 1, .next_stage = 3, .version_max = 3, .version_min = 1};
  EXPECT_EQ(login.on_request(request, names()).response.status, LoginStatus::kUnsupportedVersion);
}

TEST_F(LoginTest, StagesThatDoNotExist) {
  EXPECT_EQ(send(2, false, 0, names()).response.status, LoginStatus::kInitiatorError);
}

TEST_F(LoginTest, StagesDoNotGoBackwards) {
  EXPECT_EQ(send(1, true, 0, names()).response.status, LoginStatus::kInitiatorError);
}

TEST_F(LoginTest, AnIsidThatChangesIsAnError) {
  EXPECT_FALSE(send(0, false, 0, names() + "AuthMethod=None\0"s).failed);
  LoginRequest request{.current_stage = 0, .isid = {9}};
  EXPECT_EQ(login.on_request(request, "").response.status, LoginStatus::kInitiatorError);
}

TEST_F(LoginTest, OtherPdusAreInvalidDuringLogin) {
  const auto answer = login.on_other_pdu(5);
  EXPECT_TRUE(answer.failed);
  EXPECT_EQ(answer.response.status, LoginStatus::kInvalidDuringLogin);
  EXPECT_EQ(answer.response.task_tag, 5u);
}

TEST_F(LoginTest, TextMayComeInPieces) {
  LoginRequest first{.more = true, .current_stage = 1};
  const std::string text = names() + "RDMAExtensions=Yes\0"s;
  auto answer = login.on_request(first, text.substr(0, 20));
  EXPECT_FALSE(answer.failed);
  EXPECT_TRUE(answer.text.empty());
  LoginRequest second{.transit = true, .current_stage = 1, .next_stage = 3};
  EXPECT_TRUE(login.on_request(second, text.substr(20)).finished);
}

// The names of initiator and target are sent once. Some initiators (libiscsi) repeat them in each
// stage, which is allowed if they are equal.
TEST_F(LoginTest, ThePartiesDoNotChangeDuringLogin) {
  EXPECT_FALSE(send(0, true, 1, names() + "AuthMethod=None\0"s).failed);
  EXPECT_FALSE(send(1, false, 0, names() + "SessionType=Normal\0"s).failed);
  const auto answer = send(1, false, 0, "TargetName=iqn.2026-11.org.example:other\0"s);
  EXPECT_TRUE(answer.failed);
  EXPECT_EQ(answer.response.status, LoginStatus::kInitiatorError);
}

TEST_F(LoginTest, NorDoesTheKindOfSession) {
  EXPECT_FALSE(send(0, true, 1, names() + "AuthMethod=None\0"s).failed);
  EXPECT_TRUE(send(1, false, 0, "SessionType=Discovery\0"s).failed);
}

// iSCSI names are compared without regard to case (RFC 7143 §4.2.7.2).
TEST_F(LoginTest, NamesMayBeWrittenInCapitals) {
  std::string text =
      "InitiatorName=IQN.2026-11.org.example:Host\0TargetName=iqn.2026-11.ORG.example:disk\0"s;
  EXPECT_TRUE(send(1, true, 3, text + "RDMAExtensions=Yes\0"s).finished);
  EXPECT_EQ(host.sessions[0].initiator, kInitiator);
  EXPECT_EQ(host.sessions[0].target, kTarget);
}

TEST_F(LoginTest, EndlessTextIsCutOff) {
  LoginRequest request{.more = true, .current_stage = 1};
  const std::string piece(8000, 'a');
  EXPECT_FALSE(login.on_request(request, piece).failed);
  EXPECT_FALSE(login.on_request(request, piece).failed);
  EXPECT_TRUE(login.on_request(request, piece).failed);
}

TEST_F(LoginTest, EndlessExchangesAreCutOff) {
  EXPECT_FALSE(send(0, false, 0, names()).failed);
  int rounds = 0;
  while (!send(0, false, 0, "").failed && rounds < 1000) ++rounds;
  EXPECT_LT(rounds, 100);
}

TEST_F(LoginTest, ATargetWithSecretsInsistsOnChap) {
  host.found.authentication.incoming = kIncoming;
  EXPECT_EQ(send(1, true, 3, names() + "RDMAExtensions=Yes\0"s).response.status,
            LoginStatus::kAuthenticationFailure);
}

TEST_F(LoginTest, ATargetWithSecretsRefusesNone) {
  host.found.authentication.incoming = kIncoming;
  EXPECT_EQ(send(0, false, 0, names() + "AuthMethod=None\0"s).response.status,
            LoginStatus::kAuthenticationFailure);
}

TEST_F(LoginTest, ChapCannotBeSkippedByALeap) {
  host.found.authentication.incoming = kIncoming;
  EXPECT_FALSE(send(0, true, 3, names() + "AuthMethod=CHAP\0"s).response.transit);
  EXPECT_FALSE(send(0, true, 3, "").finished);
  EXPECT_TRUE(host.sessions.empty());
}

TEST_F(LoginTest, LeavingSecurityWithoutANegotiationFails) {
  host.found.authentication.incoming = kIncoming;
  EXPECT_EQ(send(0, true, 1, names()).response.status, LoginStatus::kAuthenticationFailure);
}

TEST_F(LoginTest, AReflectedChallengeFails) {
  host.found.authentication = {.incoming = kIncoming, .outgoing = kOutgoing};
  send(0, false, 0, names() + "AuthMethod=CHAP\0"s);
  const auto challenged = send(0, false, 0, "CHAP_A=7\0"s);
  const auto pairs = parse_text(challenged.text);
  const auto bytes = *parse_binary(*find(*pairs, "CHAP_C"));
  const auto id = uint8_t(*parse_number(*find(*pairs, "CHAP_I")));
  const std::string proof =
      format_hex(chap_response(ChapAlgorithm::kSha256, id, kIncoming.secret, bytes));
  const auto answer = send(0, true, 1,
                           "CHAP_N=alice\0CHAP_R="s + proof + "\0CHAP_I=1\0CHAP_C="s +
                               std::string(*find(*pairs, "CHAP_C")) + "\0"s);
  EXPECT_EQ(answer.response.status, LoginStatus::kAuthenticationFailure);
  EXPECT_THAT(login.reason(), HasSubstr("reflected"));
}

TEST_F(LoginTest, DiscoveryNeedsNoTargetAndNoExtensions) {
  const auto answer = send(1, true, 3,
                           "InitiatorName="s + std::string(kInitiator) +
                               "\0SessionType=Discovery\0MaxBurstLength=4096\0"s);
  EXPECT_TRUE(answer.finished);
  EXPECT_THAT(answer.text, HasSubstr("MaxBurstLength=Irrelevant"));
  EXPECT_TRUE(login.identity().discovery);
}

TEST_F(LoginTest, HostCanRefuseTheSession) {
  host.admitted.status = LoginStatus::kOutOfResources;
  const auto answer = send(1, true, 3, names() + "RDMAExtensions=Yes\0"s);
  EXPECT_EQ(answer.response.status, LoginStatus::kOutOfResources);
  EXPECT_TRUE(answer.failed);
}

// Both sides of the login against each other.
struct Exchange {
  absl::Status status;
  bool finished = false;
  Parameters initiator, target;
};

Exchange run(Host& host, InitiatorLoginOptions options, const Limits& target_limits = {}) {
  Login target(host, target_limits, counting_random);
  options.random = [](std::span<uint8_t> out) {
    for (uint8_t& byte : out) byte = 0x77;
  };
  InitiatorLogin initiator(options);
  Exchange result;
  std::optional<InitiatorLogin::Request> next = initiator.first();
  for (int round = 0; next && round < 20; ++round) {
    const Login::Answer answer = target.on_request(next->header, next->text);
    std::optional<InitiatorLogin::Request> following;
    result.status = initiator.on_response(answer.response, answer.text, following);
    if (!result.status.ok()) return result;
    next = std::move(following);
  }
  result.finished = initiator.finished();
  result.initiator = initiator.parameters();
  result.target = target.parameters();
  return result;
}

InitiatorLoginOptions options() {
  InitiatorLoginOptions options;
  options.initiator = kInitiator;
  options.target = kTarget;
  return options;
}

TEST(LoginPair, BothSidesEndWithTheSameParameters) {
  Host host;
  InitiatorLoginOptions asked = options();
  asked.limits = {.initial_r2t = false,
                  .immediate_data = true,
                  .max_burst = 65536,
                  .first_burst = 131072,
                  .initiator_recv = 128,
                  .target_recv = 4096};
  asked.limits.initiator_recv = 512;
  const Exchange result = run(host, asked, {.initial_r2t = false});
  ASSERT_TRUE(result.status.ok()) << result.status;
  EXPECT_TRUE(result.finished);
  EXPECT_TRUE(result.target.rdma_extensions);
  EXPECT_FALSE(result.target.initial_r2t);
  EXPECT_EQ(result.target.max_burst, 65536u);
  EXPECT_EQ(result.target.first_burst, 65536u);
  EXPECT_EQ(result.target.target_recv, 4096u);
  EXPECT_EQ(result.target.initiator_recv, 512u);
  EXPECT_EQ(result.initiator.initial_r2t, result.target.initial_r2t);
  EXPECT_EQ(result.initiator.target_recv, result.target.target_recv);
  EXPECT_EQ(result.initiator.initiator_recv, result.target.initiator_recv);
  EXPECT_EQ(result.initiator.max_burst, result.target.max_burst);
}

TEST(LoginPair, ChapOneWay) {
  Host host;
  host.found.authentication.incoming = kIncoming;
  InitiatorLoginOptions asked = options();
  asked.chap = kIncoming;
  const Exchange result = run(host, asked);
  EXPECT_TRUE(result.status.ok()) << result.status;
  EXPECT_TRUE(result.finished);
}

// Secrets are for targets that ask for them; who demands a proof demands it everywhere.
TEST(LoginPair, ChapIsOfferedAndNotInsistedOn) {
  Host host;
  InitiatorLoginOptions asked = options();
  asked.chap = kIncoming;
  const Exchange result = run(host, asked);
  EXPECT_TRUE(result.finished) << result.status;
  asked.mutual = kOutgoing;
  EXPECT_EQ(run(host, asked).status.code(), absl::StatusCode::kUnauthenticated);
}

TEST(LoginPair, ChapWithAWrongSecretOrNameFails) {
  Host host;
  host.found.authentication.incoming = kIncoming;
  InitiatorLoginOptions asked = options();
  asked.chap = Credentials{"alice", "alice has no secret"};
  EXPECT_EQ(run(host, asked).status.code(), absl::StatusCode::kUnauthenticated);
  asked.chap = Credentials{"bob", kIncoming.secret};
  EXPECT_EQ(run(host, asked).status.code(), absl::StatusCode::kUnauthenticated);
  EXPECT_TRUE(host.sessions.empty());
}

TEST(LoginPair, ChapMutual) {
  Host host;
  host.found.authentication = {.incoming = kIncoming, .outgoing = kOutgoing};
  InitiatorLoginOptions asked = options();
  asked.chap = kIncoming;
  asked.mutual = kOutgoing;
  const Exchange result = run(host, asked);
  EXPECT_TRUE(result.status.ok()) << result.status;
  EXPECT_TRUE(result.finished);
}

TEST(LoginPair, AFalseTargetIsFoundOut) {
  Host host;
  host.found.authentication = {.incoming = kIncoming,
                               .outgoing = Credentials{"target", "some other secret"}};
  InitiatorLoginOptions asked = options();
  asked.chap = kIncoming;
  asked.mutual = kOutgoing;
  const Exchange result = run(host, asked);
  EXPECT_EQ(result.status.code(), absl::StatusCode::kUnauthenticated);
  EXPECT_FALSE(result.finished);
}

TEST(LoginPair, AnyOfSeveralAccountsWillDo) {
  Host host;
  const Credentials bob{"bob", "bob has a secret too"};
  host.found.authentication.incoming = kIncoming;
  host.found.alternatives = {{.incoming = bob, .outgoing = kOutgoing}};
  InitiatorLoginOptions asked = options();
  asked.chap = bob;
  asked.mutual = kOutgoing;
  EXPECT_TRUE(run(host, asked).finished);
  asked.chap = kIncoming;
  EXPECT_FALSE(run(host, asked).finished) << "the other account has no secret for mutual CHAP";
  asked.mutual.reset();
  EXPECT_TRUE(run(host, asked).finished);
  // One's name with another's secret.
  asked.chap = Credentials{"alice", bob.secret};
  EXPECT_FALSE(run(host, asked).finished);
}

TEST(LoginPair, APeerWithTooManyWrongAnswersIsRefused) {
  Host host;
  host.found.authentication.incoming = kIncoming;
  InitiatorLoginOptions asked = options();
  asked.chap = Credentials{"alice", "a wrong secret here"};
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(run(host, asked).status.code(), absl::StatusCode::kUnauthenticated);
  }
  EXPECT_EQ(run(host, asked).status.code(), absl::StatusCode::kUnavailable);
  asked.chap = kIncoming;
  EXPECT_EQ(run(host, asked).status.code(), absl::StatusCode::kUnavailable);
  host.guesses = 1;
  EXPECT_TRUE(run(host, asked).finished);
  EXPECT_EQ(host.guesses, 1) << "who is right uses nothing up";
}

TEST(LoginPair, MutualChapWithATargetThatHasNoSecretFails) {
  Host host;
  host.found.authentication.incoming = kIncoming;
  InitiatorLoginOptions asked = options();
  asked.chap = kIncoming;
  asked.mutual = kOutgoing;
  EXPECT_EQ(run(host, asked).status.code(), absl::StatusCode::kUnauthenticated);
}

TEST(LoginPair, RefusalsHaveTheirStatusCodes) {
  Host host;
  InitiatorLoginOptions asked = options();
  asked.target = "iqn.2026-11.org.example:nowhere";
  EXPECT_EQ(run(host, asked).status.code(), absl::StatusCode::kNotFound);
  asked.initiator = "iqn.2026-11.org.example:stranger";
  EXPECT_EQ(run(host, asked).status.code(), absl::StatusCode::kPermissionDenied);
}

TEST(LoginPair, Discovery) {
  Host host;
  InitiatorLoginOptions asked = options();
  asked.target.clear();
  const Exchange result = run(host, asked);
  EXPECT_TRUE(result.status.ok()) << result.status;
  EXPECT_TRUE(result.finished);
}

}  // namespace
}  // namespace mrpool::iscsi
