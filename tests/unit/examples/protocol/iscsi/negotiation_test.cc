#include "examples/protocol/iscsi/negotiation.h"

#include <gtest/gtest.h>

namespace mrpool::iscsi {
namespace {

using std::string_literals::operator""s;

struct Case {
  std::string_view key, offered, answered;
};

class NegotiationKey : public testing::TestWithParam<Case> {};

TEST_P(NegotiationKey, IsAnsweredByItsRule) {
  Responder responder({.initial_r2t = true, .immediate_data = true, .max_burst = 1 << 20},
                      /*discovery=*/false);
  TextWriter reply;
  responder.answer({GetParam().key, GetParam().offered}, reply);
  const std::string expected =
      GetParam().answered.empty()
          ? ""
          : std::string(GetParam().key) + "=" + std::string(GetParam().answered) + "\0"s;
  EXPECT_EQ(reply.text(), expected);
}

INSTANTIATE_TEST_SUITE_P(
    Keys, NegotiationKey,
    testing::Values(
        Case{"HeaderDigest", "CRC32C,None", "None"}, Case{"DataDigest", "None", "None"},
        Case{"HeaderDigest", "CRC32C", "Reject"}, Case{"RDMAExtensions", "Yes", "Yes"},
        Case{"RDMAExtensions", "No", "No"}, Case{"RDMAExtensions", "Maybe", "Reject"},
        Case{"InitialR2T", "No", "Yes"}, Case{"ImmediateData", "Yes", "Yes"},
        Case{"ImmediateData", "No", "No"}, Case{"MaxBurstLength", "16776192", "1048576"},
        Case{"MaxBurstLength", "511", "Reject"}, Case{"FirstBurstLength", "262144", "65536"},
        Case{"MaxConnections", "4", "1"}, Case{"MaxConnections", "0", "Reject"},
        Case{"MaxOutstandingR2T", "8", "1"}, Case{"ErrorRecoveryLevel", "2", "0"},
        Case{"ErrorRecoveryLevel", "3", "Reject"}, Case{"DefaultTime2Wait", "1", "2"},
        Case{"DefaultTime2Wait", "5", "5"}, Case{"DefaultTime2Retain", "20", "0"},
        Case{"DataPDUInOrder", "No", "Yes"}, Case{"DataSequenceInOrder", "No", "Yes"},
        Case{"TargetRecvDataSegmentLength", "16384", "8192"},
        Case{"TargetRecvDataSegmentLength", "4096", "4096"},
        Case{"InitiatorRecvDataSegmentLength", "262144", "8192"},
        Case{"MaxOutstandingUnexpectedPDUs", "8", ""}, Case{"MaxAHSLength", "512", ""},
        Case{"iSERHelloRequired", "Yes", ""}, Case{"TaggedBufferForSolicitedDataOnly", "No", ""},
        Case{"MaxRecvDataSegmentLength", "65536", ""},
        Case{"MaxRecvDataSegmentLength", "1", "Reject"},
        Case{"TaskReporting", "FastAbort,RFC3720", "RFC3720"}, Case{"iSCSIProtocolLevel", "2", "1"},
        Case{"OFMarker", "No", "NotUnderstood"}, Case{"X-vendor", "1", "NotUnderstood"}));

TEST(Negotiation, FirstBurstIsHeldBelowMaxBurst) {
  Responder responder({}, false);
  TextWriter reply;
  responder.answer({"RDMAExtensions", "Yes"}, reply);
  responder.answer({"MaxBurstLength", "4096"}, reply);
  EXPECT_EQ(responder.conclude(), std::nullopt);
  EXPECT_EQ(responder.parameters().first_burst, 4096u);
}

// What a target answers to a request that names these keys, in one text.
std::string answers(Responder& responder, std::string_view request) {
  const std::vector<KeyValue> pairs = *parse_text(request);
  TextWriter reply;
  responder.foresee(pairs);
  for (const KeyValue& pair : pairs) responder.answer(pair, reply);
  return reply.take();
}

constexpr Limits kThreePdus{.initial_r2t = false, .first_burst = 24576, .unsolicited_pdus = 3};

// RFC 7143 §13.14: without FirstBurstLength the value is 65,536, for which the target has too few
// receives. So it keeps its R2Ts, and both sides use the same bound.
TEST(Negotiation, UnsolicitedBurstsNeedABoundThatTheTargetCanTake) {
  Responder unnamed(kThreePdus, false);
  EXPECT_EQ(answers(unnamed, "RDMAExtensions=Yes\0InitialR2T=No\0"s),
            "RDMAExtensions=Yes\0InitialR2T=Yes\0"s);
  EXPECT_EQ(unnamed.parameters().first_burst, 65536u);

  // The length may come after the key that depends on it.
  Responder named(kThreePdus, false);
  EXPECT_EQ(answers(named, "InitialR2T=No\0FirstBurstLength=65536\0"s),
            "InitialR2T=No\0FirstBurstLength=24576\0"s);

  // In smaller PDUs the same burst takes more receives.
  Responder small(kThreePdus, false);
  EXPECT_EQ(
      answers(small, "InitialR2T=No\0FirstBurstLength=24576\0TargetRecvDataSegmentLength=4096\0"s),
      "InitialR2T=Yes\0FirstBurstLength=24576\0TargetRecvDataSegmentLength=4096\0"s);
}

TEST(Negotiation, WhatWasAgreedOnUnsolicitedBurstsStays) {
  Responder responder(kThreePdus, false);
  EXPECT_EQ(answers(responder, "InitialR2T=No\0FirstBurstLength=24576\0"s),
            "InitialR2T=No\0FirstBurstLength=24576\0"s);
  EXPECT_EQ(answers(responder, "TargetRecvDataSegmentLength=512\0MaxBurstLength=65536\0"s),
            "TargetRecvDataSegmentLength=Reject\0MaxBurstLength=65536\0"s);
  EXPECT_EQ(responder.parameters().target_recv, 8192u);
}

TEST(Negotiation, TheTargetDeclaresItsOwnOnce) {
  Responder responder({.max_unexpected = 9}, false);
  TextWriter reply;
  responder.answer({"RDMAExtensions", "Yes"}, reply);
  responder.answer({"MaxOutstandingUnexpectedPDUs", "4"}, reply);
  responder.declare(reply);
  responder.declare(reply);
  EXPECT_EQ(reply.text(), "RDMAExtensions=Yes\0MaxOutstandingUnexpectedPDUs=9\0"s);
}

// open-iscsi ends the login at a key it does not know.
TEST(Negotiation, KeysTheInitiatorDoesNotNameAreNotDeclared) {
  Responder responder({}, false);
  TextWriter reply;
  responder.answer({"RDMAExtensions", "Yes"}, reply);
  responder.declare(reply);
  EXPECT_EQ(reply.text(), "RDMAExtensions=Yes\0"s);
}

TEST(Negotiation, AnInitiatorAcceptsNoMoreThanItOffered) {
  Parameters parameters;
  const Limits limits{.initial_r2t = true, .max_burst = 65536};
  const auto refused = [&](std::string_view text) {
    return accept(limits, *parse_text(text), parameters).has_value();
  };
  EXPECT_FALSE(refused("MaxBurstLength=4096"));
  EXPECT_EQ(parameters.max_burst, 4096u);
  EXPECT_TRUE(refused("MaxBurstLength=1048576"));
  EXPECT_TRUE(refused("InitialR2T=No"));
  EXPECT_TRUE(refused("HeaderDigest=CRC32C"));
  EXPECT_TRUE(refused("RDMAExtensions=Reject"));
  EXPECT_FALSE(refused("MaxConnections=Irrelevant"));
}

}  // namespace
}  // namespace mrpool::iscsi
