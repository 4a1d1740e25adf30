#include "examples/protocol/iscsi/pdu.h"

#include <gtest/gtest.h>

#include <random>

#include "examples/protocol/iscsi/iser_header.h"

namespace mrpool::iscsi {
namespace {

template <typename Pdu>
void expect_round_trip(const Pdu& pdu, Op op) {
  std::array<std::byte, kBhsSize> bytes;
  bytes.fill(std::byte{0xee});
  pdu.encode(bytes);
  EXPECT_EQ(decode_common(bytes).op, op);
  EXPECT_EQ(Pdu::decode(bytes), pdu) << to_string(op);
}

constexpr Window kWindow{.stat_sn = 0x11121314, .exp_cmd_sn = 0x21222324, .max_cmd_sn = 0x31323334};

TEST(Pdu, HeadersOfTasksSurviveARoundTrip) {
  ScsiCommand command{.immediate = true,
                      .final = false,
                      .read = true,
                      .write = true,
                      .attribute = TaskAttribute::kOrdered,
                      .ahs_words = 3,
                      .data_length = 0x123456,
                      .lun = 0x0102030405060708,
                      .task_tag = 0xa1a2a3a4,
                      .expected_length = 0xb1b2b3b4,
                      .cmd_sn = 0xc1c2c3c4,
                      .exp_stat_sn = 0xd1d2d3d4};
  command.cdb.fill(0x5a);
  expect_round_trip(command, Op::kScsiCommand);
  expect_round_trip(ScsiResponse{.response = 1,
                                 .status = 2,
                                 .residual = Residual::kUnderflow,
                                 .residual_count = 77,
                                 .data_length = 20,
                                 .task_tag = 9,
                                 .window = kWindow,
                                 .exp_data_sn = 4},
                    Op::kScsiResponse);
  expect_round_trip(ScsiResponse{.residual = Residual::kOverflow}, Op::kScsiResponse);
  expect_round_trip(TaskRequest{.immediate = false,
                                .function = TaskFunction::kTargetWarmReset,
                                .lun = 5,
                                .task_tag = 6,
                                .referenced_tag = 7,
                                .cmd_sn = 8,
                                .exp_stat_sn = 9,
                                .ref_cmd_sn = 10},
                    Op::kTaskRequest);
  expect_round_trip(
      TaskResponse{.response = TaskResponse::kRejected, .task_tag = 1, .window = kWindow},
      Op::kTaskResponse);
  expect_round_trip(DataOut{.final = false,
                            .data_length = 8192,
                            .lun = 1,
                            .task_tag = 2,
                            .transfer_tag = 3,
                            .exp_stat_sn = 4,
                            .data_sn = 5,
                            .buffer_offset = 6},
                    Op::kDataOut);
}

TEST(Pdu, HeadersOfLoginAndTextSurviveARoundTrip) {
  expect_round_trip(LoginRequest{.transit = true,
                                 .more = true,
                                 .current_stage = 1,
                                 .next_stage = 3,
                                 .version_max = 2,
                                 .version_min = 1,
                                 .data_length = 300,
                                 .isid = {1, 2, 3, 4, 5, 6},
                                 .tsih = 0x7172,
                                 .task_tag = 8,
                                 .cid = 0x8182,
                                 .cmd_sn = 10,
                                 .exp_stat_sn = 11},
                    Op::kLoginRequest);
  expect_round_trip(LoginResponse{.transit = true,
                                  .current_stage = 0,
                                  .next_stage = 1,
                                  .data_length = 3,
                                  .isid = {6, 5, 4, 3, 2, 1},
                                  .tsih = 4,
                                  .task_tag = 5,
                                  .window = kWindow,
                                  .status = LoginStatus::kAuthenticationFailure},
                    Op::kLoginResponse);
  expect_round_trip(TextRequest{.immediate = true,
                                .final = false,
                                .more = true,
                                .data_length = 16,
                                .lun = 1,
                                .task_tag = 2,
                                .transfer_tag = 3,
                                .cmd_sn = 4,
                                .exp_stat_sn = 5},
                    Op::kTextRequest);
  expect_round_trip(TextResponse{.data_length = 1, .task_tag = 2, .window = kWindow},
                    Op::kTextResponse);
}

TEST(Pdu, HeadersOfTheSessionSurviveARoundTrip) {
  expect_round_trip(NopOut{.immediate = false,
                           .data_length = 4,
                           .lun = 5,
                           .task_tag = 6,
                           .transfer_tag = 7,
                           .cmd_sn = 8,
                           .exp_stat_sn = 9},
                    Op::kNopOut);
  expect_round_trip(
      NopIn{.data_length = 4, .lun = 5, .task_tag = 6, .transfer_tag = 7, .window = kWindow},
      Op::kNopIn);
  expect_round_trip(LogoutRequest{.immediate = false,
                                  .reason = LogoutRequest::kRemoveForRecovery,
                                  .task_tag = 1,
                                  .cid = 2,
                                  .cmd_sn = 3,
                                  .exp_stat_sn = 4},
                    Op::kLogoutRequest);
  expect_round_trip(
      LogoutResponse{
          .response = 1, .task_tag = 2, .window = kWindow, .time_to_wait = 3, .time_to_retain = 4},
      Op::kLogoutResponse);
  expect_round_trip(AsyncMessage{.data_length = 20,
                                 .lun = 1,
                                 .window = kWindow,
                                 .event = AsyncMessage::kRequestLogout,
                                 .vendor_code = 2,
                                 .parameter1 = 3,
                                 .parameter2 = 4,
                                 .parameter3 = 5},
                    Op::kAsync);
  expect_round_trip(Reject{.reason = RejectReason::kInvalidField, .window = kWindow}, Op::kReject);
}

TEST(Pdu, ScsiCommandHasItsFieldsWhereTheStandardPutsThem) {
  std::array<std::byte, kBhsSize> bytes;
  ScsiCommand command{.read = true, .task_tag = 0x01020304, .expected_length = 4096};
  command.cdb[0] = 0x28;
  command.encode(bytes);
  EXPECT_EQ(bytes[0], std::byte{0x01});
  EXPECT_EQ(bytes[1], std::byte{0xc1});  // final, read, simple
  EXPECT_EQ(bytes[16], std::byte{0x01});
  EXPECT_EQ(bytes[22], std::byte{0x10});
  EXPECT_EQ(bytes[32], std::byte{0x28});
}

TEST(Pdu, DecodingAcceptsAnyBytes) {
  const uint32_t seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937 engine(seed);
  std::array<std::byte, kBhsSize> bytes;
  for (int round = 0; round < 2000; ++round) {
    for (std::byte& byte : bytes) byte = std::byte(engine());
    // What was decoded encodes to something that decodes to the same.
    const auto stable = [&](auto pdu) {
      std::array<std::byte, kBhsSize> again;
      pdu.encode(again);
      EXPECT_EQ(decltype(pdu)::decode(again), pdu);
    };
    stable(DataOut::decode(bytes));
    stable(LoginRequest::decode(bytes));
    stable(LogoutRequest::decode(bytes));
    stable(NopOut::decode(bytes));
    stable(ScsiCommand::decode(bytes));
    stable(TaskRequest::decode(bytes));
    stable(TextRequest::decode(bytes));
  }
}

TEST(Pdu, SerialNumbersWrap) {
  EXPECT_TRUE(sn_less(0xffffffff, 0));
  EXPECT_FALSE(sn_less(0, 0xffffffff));
  EXPECT_TRUE(sn_less_equal(5, 5));
}

TEST(IserHeader, ControlLooksAsLinuxWritesIt) {
  std::array<std::byte, kIserHeaderSize> bytes;
  const IserControl control{.write_valid = true,
                            .read_valid = true,
                            .write_stag = 0x01020304,
                            .write_va = 0x1112131415161718,
                            .read_stag = 0x21222324,
                            .read_va = 0x3132333435363738};
  control.encode(bytes);
  EXPECT_EQ(bytes[0], std::byte{0x1c});
  EXPECT_EQ(bytes[4], std::byte{0x01});
  EXPECT_EQ(bytes[8], std::byte{0x11});
  EXPECT_EQ(bytes[16], std::byte{0x21});
  EXPECT_EQ(bytes[20], std::byte{0x31});
  EXPECT_EQ(iser_op(bytes), IserOp::kControl);
  EXPECT_EQ(IserControl::decode(bytes), control);
}

TEST(IserHeader, HelloIsAnsweredWithTheSmallerReadDepth) {
  std::array<std::byte, kIserHeaderSize> bytes;
  IserHello{.ird = 4}.encode(bytes);
  EXPECT_EQ(iser_op(bytes), IserOp::kHello);
  const IserHelloReply reply = answer_hello(IserHello::decode(bytes), 16);
  EXPECT_FALSE(reply.reject);
  EXPECT_EQ(reply.version, kIserVersion);
  EXPECT_EQ(reply.ord, 4);
  reply.encode(bytes);
  EXPECT_EQ(iser_op(bytes), IserOp::kHelloReply);
  EXPECT_EQ(IserHelloReply::decode(bytes), reply);
}

TEST(IserHeader, HelloOfAnotherVersionIsRejected) {
  EXPECT_TRUE(answer_hello({.max_version = 1, .min_version = 1, .ird = 4}, 16).reject);
  EXPECT_TRUE(answer_hello({.max_version = 15, .min_version = 11, .ird = 4}, 16).reject);
}

TEST(IserHeader, PrivateDataOfTheConnection) {
  std::array<std::byte, ConnectPrivateData::kSize> bytes;
  ConnectPrivateData{.zero_based_not_used = true, .send_with_inv_not_used = true}.encode(bytes);
  EXPECT_EQ(bytes[0], std::byte{0xc0});
  EXPECT_TRUE(ConnectPrivateData::decode(bytes)->send_with_inv_not_used);
  EXPECT_EQ(ConnectPrivateData::decode({}), std::nullopt);
}

}  // namespace
}  // namespace mrpool::iscsi
