#include "examples/iscsi/pdu.h"

#include <algorithm>
#include <cstring>

#include "examples/scsi/big_endian.h"

namespace mrpool::iscsi {
namespace {

constexpr uint8_t kImmediate = 0x40;
constexpr uint8_t kFinal = 0x80;
constexpr uint8_t kMore = 0x40;  // text and login: the "continue" bit

// Starts a header: everything that is not set later is zero.
std::byte* start(BhsOut out, Op op, uint8_t flags, uint32_t data_length, bool immediate = false) {
  std::ranges::fill(out, std::byte{0});
  be::store8(&out[0], uint8_t(op) | (immediate ? kImmediate : 0));
  be::store8(&out[1], flags);
  be::store24(&out[5], data_length);
  return out.data();
}

uint8_t flags_of(BhsIn in) { return uint8_t(in[1]); }
bool immediate_of(BhsIn in) { return (uint8_t(in[0]) & kImmediate) != 0; }
uint32_t data_length_of(BhsIn in) { return be::load24(&in[5]); }

void store_window(std::byte* to, const Window& window) {
  be::store32(to + 24, window.stat_sn);
  be::store32(to + 28, window.exp_cmd_sn);
  be::store32(to + 32, window.max_cmd_sn);
}

Window load_window(BhsIn in) {
  return {be::load32(&in[24]), be::load32(&in[28]), be::load32(&in[32])};
}

}  // namespace

std::string_view to_string(Op op) {
  switch (op) {
    case Op::kNopOut:
      return "NOP-Out";
    case Op::kScsiCommand:
      return "SCSI Command";
    case Op::kTaskRequest:
      return "Task Management Request";
    case Op::kLoginRequest:
      return "Login Request";
    case Op::kTextRequest:
      return "Text Request";
    case Op::kDataOut:
      return "SCSI Data-Out";
    case Op::kLogoutRequest:
      return "Logout Request";
    case Op::kSnack:
      return "SNACK Request";
    case Op::kNopIn:
      return "NOP-In";
    case Op::kScsiResponse:
      return "SCSI Response";
    case Op::kTaskResponse:
      return "Task Management Response";
    case Op::kLoginResponse:
      return "Login Response";
    case Op::kTextResponse:
      return "Text Response";
    case Op::kDataIn:
      return "SCSI Data-In";
    case Op::kLogoutResponse:
      return "Logout Response";
    case Op::kR2t:
      return "R2T";
    case Op::kAsync:
      return "Asynchronous Message";
    case Op::kReject:
      return "Reject";
  }
  return "unknown PDU";
}

std::string_view to_string(LoginStatus status) {
  switch (status) {
    case LoginStatus::kSuccess:
      return "success";
    case LoginStatus::kTargetMovedTemporarily:
      return "target moved temporarily";
    case LoginStatus::kTargetMovedPermanently:
      return "target moved permanently";
    case LoginStatus::kInitiatorError:
      return "initiator error";
    case LoginStatus::kAuthenticationFailure:
      return "authentication failure";
    case LoginStatus::kAuthorizationFailure:
      return "authorization failure";
    case LoginStatus::kTargetNotFound:
      return "target not found";
    case LoginStatus::kTargetRemoved:
      return "target removed";
    case LoginStatus::kUnsupportedVersion:
      return "unsupported version";
    case LoginStatus::kTooManyConnections:
      return "too many connections";
    case LoginStatus::kMissingParameter:
      return "missing parameter";
    case LoginStatus::kCannotIncludeInSession:
      return "cannot include in session";
    case LoginStatus::kSessionTypeNotSupported:
      return "session type not supported";
    case LoginStatus::kSessionDoesNotExist:
      return "session does not exist";
    case LoginStatus::kInvalidDuringLogin:
      return "invalid during login";
    case LoginStatus::kTargetError:
      return "target error";
    case LoginStatus::kServiceUnavailable:
      return "service unavailable";
    case LoginStatus::kOutOfResources:
      return "out of resources";
  }
  return "unknown login status";
}

std::string_view to_string(RejectReason reason) {
  switch (reason) {
    case RejectReason::kDataDigest:
      return "data digest error";
    case RejectReason::kSnack:
      return "SNACK reject";
    case RejectReason::kProtocolError:
      return "protocol error";
    case RejectReason::kNotSupported:
      return "command not supported";
    case RejectReason::kTooManyImmediate:
      return "too many immediate commands";
    case RejectReason::kTaskInProgress:
      return "task in progress";
    case RejectReason::kInvalidDataAck:
      return "invalid data ack";
    case RejectReason::kInvalidField:
      return "invalid PDU field";
    case RejectReason::kOutOfResources:
      return "long operation: out of resources";
    case RejectReason::kNegotiationReset:
      return "negotiation reset";
    case RejectReason::kWaitingForLogout:
      return "waiting for logout";
  }
  return "unknown reason";
}

CommonHeader decode_common(BhsIn in) {
  return {.op = Op(uint8_t(in[0]) & 0x3f),
          .immediate = immediate_of(in),
          .final = (flags_of(in) & kFinal) != 0,
          .ahs_words = be::load8(&in[4]),
          .data_length = data_length_of(in),
          .task_tag = be::load32(&in[16])};
}

void ScsiCommand::encode(BhsOut out) const {
  const uint8_t flags =
      (final ? kFinal : 0) | (read ? 0x40 : 0) | (write ? 0x20 : 0) | (uint8_t(attribute) & 0x07);
  std::byte* to = start(out, Op::kScsiCommand, flags, data_length, immediate);
  be::store8(to + 4, ahs_words);
  be::store64(to + 8, lun);
  be::store32(to + 16, task_tag);
  be::store32(to + 20, expected_length);
  be::store32(to + 24, cmd_sn);
  be::store32(to + 28, exp_stat_sn);
  std::memcpy(to + 32, cdb.data(), cdb.size());
}

ScsiCommand ScsiCommand::decode(BhsIn in) {
  const uint8_t flags = flags_of(in);
  ScsiCommand pdu{.immediate = immediate_of(in),
                  .final = (flags & kFinal) != 0,
                  .read = (flags & 0x40) != 0,
                  .write = (flags & 0x20) != 0,
                  .attribute = TaskAttribute(flags & 0x07),
                  .ahs_words = be::load8(&in[4]),
                  .data_length = data_length_of(in),
                  .lun = be::load64(&in[8]),
                  .task_tag = be::load32(&in[16]),
                  .expected_length = be::load32(&in[20]),
                  .cmd_sn = be::load32(&in[24]),
                  .exp_stat_sn = be::load32(&in[28])};
  std::memcpy(pdu.cdb.data(), &in[32], pdu.cdb.size());
  return pdu;
}

void ScsiResponse::encode(BhsOut out) const {
  const uint8_t flags = kFinal | (residual == Residual::kOverflow ? 0x04 : 0) |
                        (residual == Residual::kUnderflow ? 0x02 : 0);
  std::byte* to = start(out, Op::kScsiResponse, flags, data_length);
  be::store8(to + 2, response);
  be::store8(to + 3, status);
  be::store32(to + 16, task_tag);
  store_window(to, window);
  be::store32(to + 36, exp_data_sn);
  be::store32(to + 44, residual_count);
}

ScsiResponse ScsiResponse::decode(BhsIn in) {
  const uint8_t flags = flags_of(in);
  return {.response = be::load8(&in[2]),
          .status = be::load8(&in[3]),
          .residual = (flags & 0x04) != 0   ? Residual::kOverflow
                      : (flags & 0x02) != 0 ? Residual::kUnderflow
                                            : Residual::kNone,
          .residual_count = be::load32(&in[44]),
          .data_length = data_length_of(in),
          .task_tag = be::load32(&in[16]),
          .window = load_window(in),
          .exp_data_sn = be::load32(&in[36])};
}

void TaskRequest::encode(BhsOut out) const {
  std::byte* to = start(out, Op::kTaskRequest, kFinal | (uint8_t(function) & 0x7f), 0, immediate);
  be::store64(to + 8, lun);
  be::store32(to + 16, task_tag);
  be::store32(to + 20, referenced_tag);
  be::store32(to + 24, cmd_sn);
  be::store32(to + 28, exp_stat_sn);
  be::store32(to + 32, ref_cmd_sn);
}

TaskRequest TaskRequest::decode(BhsIn in) {
  return {.immediate = immediate_of(in),
          .function = TaskFunction(flags_of(in) & 0x7f),
          .lun = be::load64(&in[8]),
          .task_tag = be::load32(&in[16]),
          .referenced_tag = be::load32(&in[20]),
          .cmd_sn = be::load32(&in[24]),
          .exp_stat_sn = be::load32(&in[28]),
          .ref_cmd_sn = be::load32(&in[32])};
}

void TaskResponse::encode(BhsOut out) const {
  std::byte* to = start(out, Op::kTaskResponse, kFinal, 0);
  be::store8(to + 2, response);
  be::store32(to + 16, task_tag);
  store_window(to, window);
}

TaskResponse TaskResponse::decode(BhsIn in) {
  return {
      .response = be::load8(&in[2]), .task_tag = be::load32(&in[16]), .window = load_window(in)};
}

void DataOut::encode(BhsOut out) const {
  std::byte* to = start(out, Op::kDataOut, final ? kFinal : 0, data_length);
  be::store64(to + 8, lun);
  be::store32(to + 16, task_tag);
  be::store32(to + 20, transfer_tag);
  be::store32(to + 28, exp_stat_sn);
  be::store32(to + 36, data_sn);
  be::store32(to + 40, buffer_offset);
}

DataOut DataOut::decode(BhsIn in) {
  return {.final = (flags_of(in) & kFinal) != 0,
          .data_length = data_length_of(in),
          .lun = be::load64(&in[8]),
          .task_tag = be::load32(&in[16]),
          .transfer_tag = be::load32(&in[20]),
          .exp_stat_sn = be::load32(&in[28]),
          .data_sn = be::load32(&in[36]),
          .buffer_offset = be::load32(&in[40])};
}

void LoginRequest::encode(BhsOut out) const {
  const uint8_t flags = (transit ? kFinal : 0) | (more ? kMore : 0) |
                        uint8_t((current_stage & 3) << 2) | (next_stage & 3);
  std::byte* to = start(out, Op::kLoginRequest, flags, data_length, /*immediate=*/true);
  be::store8(to + 2, version_max);
  be::store8(to + 3, version_min);
  std::memcpy(to + 8, isid.data(), isid.size());
  be::store16(to + 14, tsih);
  be::store32(to + 16, task_tag);
  be::store16(to + 20, cid);
  be::store32(to + 24, cmd_sn);
  be::store32(to + 28, exp_stat_sn);
}

LoginRequest LoginRequest::decode(BhsIn in) {
  const uint8_t flags = flags_of(in);
  LoginRequest pdu{.transit = (flags & kFinal) != 0,
                   .more = (flags & kMore) != 0,
                   .current_stage = uint8_t(flags >> 2 & 3),
                   .next_stage = uint8_t(flags & 3),
                   .version_max = be::load8(&in[2]),
                   .version_min = be::load8(&in[3]),
                   .data_length = data_length_of(in),
                   .tsih = be::load16(&in[14]),
                   .task_tag = be::load32(&in[16]),
                   .cid = be::load16(&in[20]),
                   .cmd_sn = be::load32(&in[24]),
                   .exp_stat_sn = be::load32(&in[28])};
  std::memcpy(pdu.isid.data(), &in[8], pdu.isid.size());
  return pdu;
}

void LoginResponse::encode(BhsOut out) const {
  const uint8_t flags = (transit ? kFinal : 0) | (more ? kMore : 0) |
                        uint8_t((current_stage & 3) << 2) | (next_stage & 3);
  std::byte* to = start(out, Op::kLoginResponse, flags, data_length);
  be::store8(to + 2, version_max);
  be::store8(to + 3, version_active);
  std::memcpy(to + 8, isid.data(), isid.size());
  be::store16(to + 14, tsih);
  be::store32(to + 16, task_tag);
  store_window(to, window);
  be::store16(to + 36, uint16_t(status));
}

LoginResponse LoginResponse::decode(BhsIn in) {
  const uint8_t flags = flags_of(in);
  LoginResponse pdu{.transit = (flags & kFinal) != 0,
                    .more = (flags & kMore) != 0,
                    .current_stage = uint8_t(flags >> 2 & 3),
                    .next_stage = uint8_t(flags & 3),
                    .version_max = be::load8(&in[2]),
                    .version_active = be::load8(&in[3]),
                    .data_length = data_length_of(in),
                    .tsih = be::load16(&in[14]),
                    .task_tag = be::load32(&in[16]),
                    .window = load_window(in),
                    .status = LoginStatus(be::load16(&in[36]))};
  std::memcpy(pdu.isid.data(), &in[8], pdu.isid.size());
  return pdu;
}

void TextRequest::encode(BhsOut out) const {
  const uint8_t flags = (final ? kFinal : 0) | (more ? kMore : 0);
  std::byte* to = start(out, Op::kTextRequest, flags, data_length, immediate);
  be::store64(to + 8, lun);
  be::store32(to + 16, task_tag);
  be::store32(to + 20, transfer_tag);
  be::store32(to + 24, cmd_sn);
  be::store32(to + 28, exp_stat_sn);
}

TextRequest TextRequest::decode(BhsIn in) {
  return {.immediate = immediate_of(in),
          .final = (flags_of(in) & kFinal) != 0,
          .more = (flags_of(in) & kMore) != 0,
          .data_length = data_length_of(in),
          .lun = be::load64(&in[8]),
          .task_tag = be::load32(&in[16]),
          .transfer_tag = be::load32(&in[20]),
          .cmd_sn = be::load32(&in[24]),
          .exp_stat_sn = be::load32(&in[28])};
}

void TextResponse::encode(BhsOut out) const {
  const uint8_t flags = (final ? kFinal : 0) | (more ? kMore : 0);
  std::byte* to = start(out, Op::kTextResponse, flags, data_length);
  be::store64(to + 8, lun);
  be::store32(to + 16, task_tag);
  be::store32(to + 20, transfer_tag);
  store_window(to, window);
}

TextResponse TextResponse::decode(BhsIn in) {
  return {.final = (flags_of(in) & kFinal) != 0,
          .more = (flags_of(in) & kMore) != 0,
          .data_length = data_length_of(in),
          .lun = be::load64(&in[8]),
          .task_tag = be::load32(&in[16]),
          .transfer_tag = be::load32(&in[20]),
          .window = load_window(in)};
}

void NopOut::encode(BhsOut out) const {
  std::byte* to = start(out, Op::kNopOut, kFinal, data_length, immediate);
  be::store64(to + 8, lun);
  be::store32(to + 16, task_tag);
  be::store32(to + 20, transfer_tag);
  be::store32(to + 24, cmd_sn);
  be::store32(to + 28, exp_stat_sn);
}

NopOut NopOut::decode(BhsIn in) {
  return {.immediate = immediate_of(in),
          .data_length = data_length_of(in),
          .lun = be::load64(&in[8]),
          .task_tag = be::load32(&in[16]),
          .transfer_tag = be::load32(&in[20]),
          .cmd_sn = be::load32(&in[24]),
          .exp_stat_sn = be::load32(&in[28])};
}

void NopIn::encode(BhsOut out) const {
  std::byte* to = start(out, Op::kNopIn, kFinal, data_length);
  be::store64(to + 8, lun);
  be::store32(to + 16, task_tag);
  be::store32(to + 20, transfer_tag);
  store_window(to, window);
}

NopIn NopIn::decode(BhsIn in) {
  return {.data_length = data_length_of(in),
          .lun = be::load64(&in[8]),
          .task_tag = be::load32(&in[16]),
          .transfer_tag = be::load32(&in[20]),
          .window = load_window(in)};
}

void LogoutRequest::encode(BhsOut out) const {
  std::byte* to = start(out, Op::kLogoutRequest, kFinal | (reason & 0x7f), 0, immediate);
  be::store32(to + 16, task_tag);
  be::store16(to + 20, cid);
  be::store32(to + 24, cmd_sn);
  be::store32(to + 28, exp_stat_sn);
}

LogoutRequest LogoutRequest::decode(BhsIn in) {
  return {.immediate = immediate_of(in),
          .reason = uint8_t(flags_of(in) & 0x7f),
          .task_tag = be::load32(&in[16]),
          .cid = be::load16(&in[20]),
          .cmd_sn = be::load32(&in[24]),
          .exp_stat_sn = be::load32(&in[28])};
}

void LogoutResponse::encode(BhsOut out) const {
  std::byte* to = start(out, Op::kLogoutResponse, kFinal, 0);
  be::store8(to + 2, response);
  be::store32(to + 16, task_tag);
  store_window(to, window);
  be::store16(to + 40, time_to_wait);
  be::store16(to + 42, time_to_retain);
}

LogoutResponse LogoutResponse::decode(BhsIn in) {
  return {.response = be::load8(&in[2]),
          .task_tag = be::load32(&in[16]),
          .window = load_window(in),
          .time_to_wait = be::load16(&in[40]),
          .time_to_retain = be::load16(&in[42])};
}

void AsyncMessage::encode(BhsOut out) const {
  std::byte* to = start(out, Op::kAsync, kFinal, data_length);
  be::store64(to + 8, lun);
  be::store32(to + 16, kReservedTag);
  store_window(to, window);
  be::store8(to + 36, event);
  be::store8(to + 37, vendor_code);
  be::store16(to + 38, parameter1);
  be::store16(to + 40, parameter2);
  be::store16(to + 42, parameter3);
}

AsyncMessage AsyncMessage::decode(BhsIn in) {
  return {.data_length = data_length_of(in),
          .lun = be::load64(&in[8]),
          .window = load_window(in),
          .event = be::load8(&in[36]),
          .vendor_code = be::load8(&in[37]),
          .parameter1 = be::load16(&in[38]),
          .parameter2 = be::load16(&in[40]),
          .parameter3 = be::load16(&in[42])};
}

void Reject::encode(BhsOut out) const {
  std::byte* to = start(out, Op::kReject, kFinal, data_length);
  be::store8(to + 2, uint8_t(reason));
  be::store32(to + 16, kReservedTag);
  store_window(to, window);
}

Reject Reject::decode(BhsIn in) {
  return {.reason = RejectReason(be::load8(&in[2])),
          .data_length = data_length_of(in),
          .window = load_window(in)};
}

}  // namespace mrpool::iscsi
