// A session at work: commands and their data, the command window, NOPs, texts, and initiators that
// break the rules.
#include "examples/iser/target/connection.h"

#include <cstring>

#include "examples/base/big_endian.h"
#include "tests/unit/examples/iser/target/connection_fixture.h"

namespace mrpool::iser_target {
namespace {

TEST_F(ConnectionTest, ReadsGoOutByRdmaWithTheirKeyInvalidated) {
  Connection& connection = log_in();
  const auto response = command(connection, {0x28, 0, 0, 0, 0, 0, 0, 0, 2}, 1024);
  EXPECT_EQ(response.status, 0);
  EXPECT_EQ(link.pushed.size(), 1024u);
  EXPECT_EQ(link.pushed_to.rkey.value, 0x77u);
  EXPECT_EQ(link.pushed_to.addr.value, 0x1000u);
  EXPECT_EQ(link.invalidated, Rkey{0x77});
  settle(connection);
  EXPECT_TRUE(connection.idle());
}

TEST_F(ConnectionTest, WithoutTheAgreementNoKeyIsInvalidated) {
  link.invalidates = false;
  Connection& connection = log_in();
  command(connection, {0x28, 0, 0, 0, 0, 0, 0, 0, 2}, 1024);
  EXPECT_EQ(link.invalidated, std::nullopt);
}

TEST_F(ConnectionTest, SolicitedDataIsFetchedAfterTheImmediateData) {
  Connection& connection = log_in();
  auto pdu = scsi(write10(0, 16), 8192, true);
  pdu.data_length = 4096;
  EXPECT_TRUE(deliver(connection, pdu, std::string(4096, 'i'), kWriteKey));
  ASSERT_EQ(link.fetching.size(), 1u);
  EXPECT_EQ(link.fetched_from.length, 4096u);
  EXPECT_EQ(link.fetched_from.addr.value, 0x2000u);  // where the solicited part begins
  EXPECT_EQ(link.released, 0u);
  fetch_all(connection);
  EXPECT_EQ(iscsi::ScsiResponse::decode(bhs(take())).status, 0);
  settle(connection);
  EXPECT_EQ(link.released, 1u);
  command(connection, {0x28, 0, 0, 0, 0, 0, 0, 0, 16}, 8192);
  EXPECT_EQ(link.pushed[0], std::byte{'i'});
  EXPECT_EQ(link.pushed[4095], std::byte{'i'});
  EXPECT_EQ(link.pushed[4096], std::byte{0xfe});
}

TEST_F(ConnectionTest, ImmediateDataThatIsNotWholePagesMovesToStaging) {
  Connection& connection = log_in();
  auto pdu = scsi(write10(0, 4), 2048, true);
  pdu.data_length = 700;
  deliver(connection, pdu, std::string(700, 'x'), kWriteKey);
  EXPECT_EQ(link.fetched_from.length, 2048u - 700);
  fetch_all(connection);
  take();
  settle(connection);
  command(connection, {0x28, 0, 0, 0, 0, 0, 0, 0, 4}, 2048);
  EXPECT_EQ(link.pushed[699], std::byte{'x'});
  EXPECT_EQ(link.pushed[700], std::byte{0xfe});
}

TEST_F(ConnectionTest, UnsolicitedDataOutsFollowTheirCommand) {
  const iscsi::Limits limits{.initial_r2t = false, .first_burst = kFirstBurstUnsolicited};
  Connection& connection = log_in(limits);
  auto pdu = scsi(write10(0, 24), 12288, true);
  pdu.final = false;
  pdu.data_length = 4096;
  EXPECT_TRUE(deliver(connection, pdu, std::string(4096, 'a')));
  EXPECT_TRUE(link.out.empty());
  const uint32_t command_tag = pdu.task_tag;
  EXPECT_TRUE(deliver(
      connection,
      iscsi::DataOut{
          .final = false, .data_length = 4096, .task_tag = command_tag, .buffer_offset = 4096},
      std::string(4096, 'b')));
  EXPECT_TRUE(deliver(
      connection,
      iscsi::DataOut{
          .data_length = 4096, .task_tag = command_tag, .data_sn = 1, .buffer_offset = 8192},
      std::string(4096, 'c')));
  EXPECT_EQ(iscsi::ScsiResponse::decode(bhs(take())).status, 0);
  settle(connection);
  EXPECT_EQ(link.released, 3u);
  command(connection, {0x28, 0, 0, 0, 0, 0, 0, 0, 24}, 12288);
  EXPECT_EQ(link.pushed[4096], std::byte{'b'});
  EXPECT_EQ(link.pushed[8192], std::byte{'c'});
}

TEST_F(ConnectionTest, DataOutsOutOfOrderEndTheConnection) {
  const iscsi::Limits limits{.initial_r2t = false, .first_burst = kFirstBurstUnsolicited};
  Connection& connection = log_in(limits);
  auto pdu = scsi(write10(0, 24), 12288, true);
  pdu.final = false;
  deliver(connection, pdu);
  deliver(connection,
          iscsi::DataOut{.data_length = 512, .task_tag = pdu.task_tag, .buffer_offset = 512},
          std::string(512, 'b'));
  EXPECT_EQ(op(take()), iscsi::Op::kReject);
  EXPECT_TRUE(link.disconnected);
}

struct Violation {
  const char* name;
  void (*change)(iscsi::ScsiCommand& pdu);
};
class Violations : public ConnectionTest, public testing::WithParamInterface<Violation> {};

TEST_P(Violations, AreRejectedAndEndTheConnection) {
  Connection& connection = log_in({.immediate_data = false});
  auto pdu = scsi(write10(0, 1), 512, true);
  GetParam().change(pdu);
  deliver(connection, pdu, std::string(512, 'x'), kWriteKey);
  const auto answer = take();
  EXPECT_EQ(op(answer), iscsi::Op::kReject);
  EXPECT_EQ(data(answer).size(), iscsi::kBhsSize);
  EXPECT_TRUE(link.disconnected);
  EXPECT_EQ(site->totals().protocol_errors, 1u);
}

INSTANTIATE_TEST_SUITE_P(
    All, Violations,
    testing::Values(Violation{"immediate data against the negotiation",
                              [](iscsi::ScsiCommand& pdu) { pdu.data_length = 512; }},
                    Violation{"Data-Out against InitialR2T",
                              [](iscsi::ScsiCommand& pdu) { pdu.final = false; }},
                    Violation{"data with a read",
                              [](iscsi::ScsiCommand& pdu) {
                                pdu.write = false;
                                pdu.read = true;
                                pdu.data_length = 512;
                              }},
                    Violation{"shorter than its length field",
                              [](iscsi::ScsiCommand& pdu) { pdu.data_length = 4096; }}));

TEST_F(ConnectionTest, AWriteWithoutAKeyEndsTheConnection) {
  Connection& connection = log_in();
  deliver(connection, scsi(write10(0, 1), 512, true));
  EXPECT_TRUE(link.dropped);
  EXPECT_TRUE(connection.idle());
}

TEST_F(ConnectionTest, CommandsOutsideTheWindowAreIgnoredAndGapsAreFatal) {
  Connection& connection = log_in();
  auto pdu = scsi(scsi::Cdb{});
  pdu.cmd_sn -= 1;
  deliver(connection, pdu);
  pdu.cmd_sn += kQueueDepth + 2;
  deliver(connection, pdu);
  EXPECT_TRUE(link.out.empty());
  EXPECT_FALSE(link.dropped);
  pdu.cmd_sn = cmd_sn + 3;
  deliver(connection, pdu);
  EXPECT_TRUE(link.dropped);
}

TEST_F(ConnectionTest, TheWindowClosesAndOpensAgain) {
  Connection& connection = log_in();
  link.chunks_free = false;
  for (uint32_t i = 0; i < kQueueDepth; ++i) {
    deliver(connection, scsi({0x28, 0, 0, 0, 0, 0, 0, 0, 1}, 512), {}, kReadKey);
  }
  EXPECT_EQ(link.waiting.size(), kQueueDepth);
  deliver(connection, scsi(scsi::Cdb{}));  // beyond the window
  EXPECT_EQ(connection.active(), kQueueDepth);
  Task* first = link.waiting.front();
  link.waiting.erase(link.waiting.begin());
  link.grant(*first);
  connection.chunks_ready(*first);
  const auto response = iscsi::ScsiResponse::decode(bhs(take()));
  EXPECT_EQ(response.window.max_cmd_sn, response.window.exp_cmd_sn);
}

// The next command needs a receive as soon as the answer permits it.
TEST_F(ConnectionTest, AnAnswerGivesTheReceivesBackBeforeItHasLeft) {
  Connection& connection = log_in();
  for (uint32_t i = 1; i <= kQueueDepth; ++i) {
    auto pdu = scsi(write10(0, 1), 512, true);
    pdu.data_length = 512;
    EXPECT_TRUE(deliver(connection, pdu, std::string(512, 'x'), kWriteKey));
    EXPECT_EQ(iscsi::ScsiResponse::decode(bhs(take())).status, 0);
    EXPECT_EQ(link.released, i);
  }
  settle(connection);
  EXPECT_EQ(link.released, kQueueDepth);
}

TEST_F(ConnectionTest, NopOutIsEchoed) {
  Connection& connection = log_in();
  deliver(connection, iscsi::NopOut{.immediate = true, .data_length = 4, .task_tag = 5}, "ping");
  const auto answer = take();
  EXPECT_EQ(op(answer), iscsi::Op::kNopIn);
  EXPECT_EQ(iscsi::NopIn::decode(bhs(answer)).task_tag, 5u);
  EXPECT_EQ(data(answer), "ping");
}

// MaxOutstandingUnexpectedPDUs: answers outside the window have a bounded number of places.
TEST_F(ConnectionTest, MoreUnexpectedPdusThanWereAgreedEndTheConnection) {
  Connection& connection = log_in();
  link.room = kMaxUnexpected;
  for (uint32_t i = 0; i < kMaxUnexpected; ++i) deliver(connection, iscsi::NopOut{.task_tag = i});
  EXPECT_FALSE(link.dropped);
  EXPECT_EQ(link.out.size(), kMaxUnexpected);
  deliver(connection, iscsi::NopOut{.task_tag = kMaxUnexpected});
  EXPECT_TRUE(link.dropped);
}

TEST_F(ConnectionTest, ASilentInitiatorIsAskedAndThenGivenUp) {
  Connection& connection = log_in();
  link.clock += std::chrono::seconds(25);
  connection.tick();
  const auto ping = iscsi::NopIn::decode(bhs(take()));
  EXPECT_EQ(ping.task_tag, iscsi::kReservedTag);
  EXPECT_NE(ping.transfer_tag, iscsi::kReservedTag);
  connection.tick();
  EXPECT_TRUE(link.out.empty());
  link.clock += std::chrono::seconds(25);
  connection.tick();
  EXPECT_TRUE(link.dropped);
}

TEST_F(ConnectionTest, ALoginThatTakesTooLongIsDropped) {
  Connection& connection = connect();
  link.clock += std::chrono::seconds(60);
  connection.tick();
  EXPECT_TRUE(link.dropped);
}

TEST_F(ConnectionTest, HelloIsAnswered) {
  Connection& connection = log_in();
  std::vector<std::byte> hello(iscsi::kIserHeaderSize);
  iscsi::IserHello{.ird = 4}.encode(std::span(hello).first<iscsi::kIserHeaderSize>());
  EXPECT_FALSE(connection.received(hello, nullptr));
  const auto answer = take();
  ASSERT_EQ(answer.size(), iscsi::kIserHeaderSize);
  EXPECT_EQ(iscsi::IserHelloReply::decode(
                std::span<const std::byte>(answer).first<iscsi::kIserHeaderSize>())
                .ord,
            4);
}

TEST_F(ConnectionTest, UnknownPdusAreRejectedAndTheSessionContinues) {
  Connection& connection = log_in();
  std::vector<std::byte> message(kHeaders);
  iscsi::IserControl{}.encode(std::span(message).first<iscsi::kIserHeaderSize>());
  message[iscsi::kIserHeaderSize] = std::byte{0x1c};
  EXPECT_FALSE(connection.received(message, nullptr));
  EXPECT_EQ(iscsi::Reject::decode(bhs(take())).reason, iscsi::RejectReason::kNotSupported);
  message[iscsi::kIserHeaderSize] = std::byte{0x10};
  EXPECT_FALSE(connection.received(message, nullptr));
  EXPECT_EQ(iscsi::Reject::decode(bhs(take())).reason, iscsi::RejectReason::kSnack);
  EXPECT_EQ(command(connection, scsi::Cdb{}).status, 0);
}

TEST_F(ConnectionTest, MessagesTooShortForTheirHeadersEndTheConnection) {
  std::vector<std::byte> shortest(10);
  EXPECT_FALSE(log_in().received(shortest, nullptr));
  EXPECT_TRUE(link.dropped);
}

TEST_F(ConnectionTest, DiscoverySessionsKnowTextAndLogoutOnly) {
  Connection& connection = log_in({}, /*discovery=*/true);
  std::string request = "SendTargets=All";
  request.push_back('\0');
  deliver(
      connection,
      iscsi::TextRequest{.immediate = true, .data_length = uint32_t(request.size()), .task_tag = 9},
      request);
  const auto answer = take();
  EXPECT_EQ(op(answer), iscsi::Op::kTextResponse);
  EXPECT_THAT(std::string(data(answer)), testing::HasSubstr(kDisk));
  deliver(connection, scsi(scsi::Cdb{}));
  EXPECT_EQ(op(take()), iscsi::Op::kReject);
  deliver(connection, iscsi::NopOut{.immediate = false, .task_tag = 10, .cmd_sn = cmd_sn});
  EXPECT_EQ(op(take()), iscsi::Op::kNopIn);
  EXPECT_FALSE(link.dropped);
}

TEST_F(ConnectionTest, AMissingLunAnswersAsSpecified) {
  Connection& connection = log_in();
  auto pdu = scsi({0x12, 0, 0, 0, 96}, 96);
  pdu.lun = uint64_t{7} << 48;
  deliver(connection, pdu, {}, kReadKey);
  EXPECT_EQ(iscsi::ScsiResponse::decode(bhs(take())).status, 0);
  EXPECT_EQ(link.pushed[0], std::byte{0x7f});
  pdu = scsi(scsi::Cdb{});
  pdu.lun = uint64_t{7} << 48;
  deliver(connection, pdu);
  EXPECT_EQ(iscsi::ScsiResponse::decode(bhs(take())).status, 2);
}

// 256 blocks become 0 in the CDB of COMPARE AND WRITE.
TEST_F(ConnectionTest, ACompareAndWriteOfLessThanWasSentIsRefused) {
  Connection& connection = log_in();
  auto pdu = scsi({0x89}, 2 * 256 * 512, true);
  deliver(connection, pdu, {}, kWriteKey);
  const auto answer = take();
  const auto response = iscsi::ScsiResponse::decode(bhs(answer));
  EXPECT_EQ(response.status, 2);
  EXPECT_EQ(response.residual, iscsi::Residual::kUnderflow);
  EXPECT_EQ(response.residual_count, 2u * 256 * 512);
  const auto sense = scsi::decode_sense(std::span(
      reinterpret_cast<const uint8_t*>(answer.data()) + kHeaders + 2, response.data_length - 2));
  ASSERT_TRUE(sense);
  EXPECT_TRUE(sense->same_code(scsi::kInvalidFieldInCdb));
  EXPECT_TRUE(link.fetching.empty());
}

TEST_F(ConnectionTest, ResidualsOfWritesAndFailures) {
  Connection& connection = log_in();
  // More offered than the command takes.
  deliver(connection, scsi(write10(0, 1), 1024, true), {}, kWriteKey);
  EXPECT_EQ(link.fetched_from.length, 512u);
  fetch_all(connection);
  auto response = iscsi::ScsiResponse::decode(bhs(take()));
  EXPECT_EQ(response.residual, iscsi::Residual::kUnderflow);
  EXPECT_EQ(response.residual_count, 512u);
  // Less offered: the whole blocks are written.
  deliver(connection, scsi(write10(0, 4), 700, true), {}, kWriteKey);
  EXPECT_EQ(link.fetched_from.length, 512u);
  fetch_all(connection);
  response = iscsi::ScsiResponse::decode(bhs(take()));
  EXPECT_EQ(response.status, 0);
  EXPECT_EQ(response.residual, iscsi::Residual::kOverflow);
  EXPECT_EQ(response.residual_count, 2048u - 700);
  // A failed read moves nothing.
  response = command(connection, {0x28, 0, 0xff, 0, 0, 0, 0, 0, 1}, 512);
  EXPECT_EQ(response.status, 2);
  EXPECT_EQ(response.residual, iscsi::Residual::kUnderflow);
  EXPECT_EQ(response.residual_count, 512u);
}

// Pieces of a request are asked for by a tag, which RFC 7143 §11.11.4 wants in every answer that is
// not final.
TEST_F(ConnectionTest, TextRequestsMayComeInPieces) {
  Connection& connection = log_in({}, /*discovery=*/true);
  const std::string request = "SendTargets=All";
  const auto piece = [&](std::string_view text, bool more, uint32_t transfer_tag) {
    deliver(connection,
            iscsi::TextRequest{.immediate = true,
                               .final = !more,
                               .more = more,
                               .data_length = uint32_t(text.size()),
                               .task_tag = 9,
                               .transfer_tag = transfer_tag},
            text);
    return take();
  };
  const auto go_on = iscsi::TextResponse::decode(bhs(piece("SendTar", true, iscsi::kReservedTag)));
  EXPECT_FALSE(go_on.final);
  EXPECT_EQ(go_on.data_length, 0u);
  ASSERT_NE(go_on.transfer_tag, iscsi::kReservedTag);
  const auto answer = piece("gets=All", false, go_on.transfer_tag);
  EXPECT_TRUE(iscsi::TextResponse::decode(bhs(answer)).final);
  EXPECT_THAT(std::string(data(answer)), testing::HasSubstr(kDisk));
  // A request without a tag starts a new sequence, independent of earlier ones.
  piece("Garbage", true, iscsi::kReservedTag);
  EXPECT_THAT(std::string(data(piece(request, false, iscsi::kReservedTag))),
              testing::HasSubstr(kDisk));
  EXPECT_FALSE(link.dropped);
}

TEST_F(ConnectionTest, ReportLunsClearsTheAttentionsOfAllUnits) {
  Connection& connection = log_in();
  ASSERT_TRUE(apply({"ram:1MiB", "ram:2MiB"}).ok());
  ASSERT_TRUE(apply({"ram:1MiB", "ram:2MiB", "ram:3MiB"}).ok());
  EXPECT_EQ(attention(connection, 1), scsi::kPowerOn);
  inquire(connection, 1);
  command(connection, {0xa0, 0, 0, 0, 0, 0, 0, 0, 1, 0}, 256);
  settle(connection);
  EXPECT_EQ(attention(connection, 0), scsi::kNoSense);
  EXPECT_EQ(attention(connection, 1), scsi::kNoSense);
}

}  // namespace
}  // namespace mrpool::iser_target
