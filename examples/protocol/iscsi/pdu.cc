#include "examples/protocol/iscsi/pdu.h"

#include <algorithm>
#include <bit>
#include <concepts>
#include <cstring>
#include <type_traits>

#include "examples/base/big_endian.h"

namespace mrpool::iscsi {
namespace {

constexpr uint8_t kImmediate = 0x40;  // byte 0
constexpr uint8_t kFinal = 0x80;      // byte 1
constexpr uint8_t kMore = 0x40;       // byte 1 of text and login: the "continue" bit

// The places of a PDU's fields are written once, by a function layout() that names every field with
// its place. It is run by an Encoder, which puts the fields there, or a Decoder, which fetches
// them.
class Encoder {
 public:
  Encoder(BhsOut out, Op op) : out_(out) {
    std::ranges::fill(out, std::byte{0});
    out[0] = std::byte(op);
  }
  void flag(size_t at, uint8_t mask, bool value) const {
    if (value) out_[at] |= std::byte{mask};
  }
  // A number of as many bits as `mask` has.
  template <typename T>
  void bits(size_t at, uint8_t mask, T value) const {
    out_[at] |= std::byte(uint8_t(value) << std::countr_zero(mask) & mask);
  }
  template <typename T>
  void field(size_t at, T value) const {
    if constexpr (sizeof(T) == 1) be::store8(&out_[at], uint8_t(value));
    if constexpr (sizeof(T) == 2) be::store16(&out_[at], uint16_t(value));
    if constexpr (sizeof(T) == 4) be::store32(&out_[at], value);
    if constexpr (sizeof(T) == 8) be::store64(&out_[at], value);
  }
  template <size_t kSize>
  void field(size_t at, const std::array<uint8_t, kSize>& bytes) const {
    std::memcpy(&out_[at], bytes.data(), kSize);
  }
  void data_length(uint32_t length) const { be::store24(&out_[5], length); }
  // What is the same in every PDU of a kind.
  void always_immediate() const { flag(0, kImmediate, true); }
  void always_final() const { flag(1, kFinal, true); }
  void no_task() const { field(16, kReservedTag); }

 private:
  BhsOut out_;
};

class Decoder {
 public:
  explicit Decoder(BhsIn in) : in_(in) {}
  void flag(size_t at, uint8_t mask, bool& value) const { value = (byte(at) & mask) != 0; }
  template <typename T>
  void bits(size_t at, uint8_t mask, T& value) const {
    value = T((byte(at) & mask) >> std::countr_zero(mask));
  }
  template <typename T>
  void field(size_t at, T& value) const {
    if constexpr (sizeof(T) == 1) value = T(be::load8(&in_[at]));
    if constexpr (sizeof(T) == 2) value = T(be::load16(&in_[at]));
    if constexpr (sizeof(T) == 4) value = be::load32(&in_[at]);
    if constexpr (sizeof(T) == 8) value = be::load64(&in_[at]);
  }
  template <size_t kSize>
  void field(size_t at, std::array<uint8_t, kSize>& bytes) const {
    std::memcpy(bytes.data(), &in_[at], kSize);
  }
  void data_length(uint32_t& length) const { length = be::load24(&in_[5]); }
  void always_immediate() const {}
  void always_final() const {}
  void no_task() const {}

 private:
  uint8_t byte(size_t at) const { return uint8_t(in_[at]); }
  BhsIn in_;
};

// The PDU of a layout, const for the encoder.
template <typename T, typename Pdu>
concept Is = std::same_as<std::remove_const_t<T>, Pdu>;

// Parts that several PDUs have.
void numbers(const auto& io, auto& request) {
  io.field(24, request.cmd_sn);
  io.field(28, request.exp_stat_sn);
}

void numbers(const auto& io, Is<Window> auto& window) {
  io.field(24, window.stat_sn);
  io.field(28, window.exp_cmd_sn);
  io.field(32, window.max_cmd_sn);
}

void tags(const auto& io, auto& pdu) {
  io.field(8, pdu.lun);
  io.field(16, pdu.task_tag);
  io.field(20, pdu.transfer_tag);
}

void stages(const auto& io, auto& login) {
  io.flag(1, kFinal, login.transit);
  io.flag(1, kMore, login.more);
  io.bits(1, 0x0c, login.current_stage);
  io.bits(1, 0x03, login.next_stage);
}

void residual(const Encoder& io, Residual residual) {
  io.flag(1, 0x04, residual == Residual::kOverflow);
  io.flag(1, 0x02, residual == Residual::kUnderflow);
}

void residual(const Decoder& io, Residual& residual) {
  bool overflow = false;
  bool underflow = false;
  io.flag(1, 0x04, overflow);
  io.flag(1, 0x02, underflow);
  // A peer that sets both is taken at the worse.
  residual = overflow ? Residual::kOverflow : underflow ? Residual::kUnderflow : Residual::kNone;
}

// RFC 7143 §11.3 to §11.19, in the order of the header file.

void layout(const auto& io, Is<ScsiCommand> auto& pdu) {
  io.flag(0, kImmediate, pdu.immediate);
  io.flag(1, kFinal, pdu.final);
  io.flag(1, 0x40, pdu.read);
  io.flag(1, 0x20, pdu.write);
  io.bits(1, 0x07, pdu.attribute);
  io.field(4, pdu.ahs_words);
  io.data_length(pdu.data_length);
  io.field(8, pdu.lun);
  io.field(16, pdu.task_tag);
  io.field(20, pdu.expected_length);
  numbers(io, pdu);
  io.field(32, pdu.cdb);
}

void layout(const auto& io, Is<ScsiResponse> auto& pdu) {
  io.always_final();
  residual(io, pdu.residual);
  io.field(2, pdu.response);
  io.field(3, pdu.status);
  io.data_length(pdu.data_length);
  io.field(16, pdu.task_tag);
  numbers(io, pdu.window);
  io.field(36, pdu.exp_data_sn);
  io.field(44, pdu.residual_count);
}

void layout(const auto& io, Is<TaskRequest> auto& pdu) {
  io.flag(0, kImmediate, pdu.immediate);
  io.always_final();
  io.bits(1, 0x7f, pdu.function);
  io.field(8, pdu.lun);
  io.field(16, pdu.task_tag);
  io.field(20, pdu.referenced_tag);
  numbers(io, pdu);
  io.field(32, pdu.ref_cmd_sn);
}

void layout(const auto& io, Is<TaskResponse> auto& pdu) {
  io.always_final();
  io.field(2, pdu.response);
  io.field(16, pdu.task_tag);
  numbers(io, pdu.window);
}

void layout(const auto& io, Is<DataOut> auto& pdu) {
  io.flag(1, kFinal, pdu.final);
  io.data_length(pdu.data_length);
  tags(io, pdu);
  io.field(28, pdu.exp_stat_sn);
  io.field(36, pdu.data_sn);
  io.field(40, pdu.buffer_offset);
}

void layout(const auto& io, Is<LoginRequest> auto& pdu) {
  io.always_immediate();
  stages(io, pdu);
  io.field(2, pdu.version_max);
  io.field(3, pdu.version_min);
  io.data_length(pdu.data_length);
  io.field(8, pdu.isid);
  io.field(14, pdu.tsih);
  io.field(16, pdu.task_tag);
  io.field(20, pdu.cid);
  numbers(io, pdu);
}

void layout(const auto& io, Is<LoginResponse> auto& pdu) {
  stages(io, pdu);
  io.field(2, pdu.version_max);
  io.field(3, pdu.version_active);
  io.data_length(pdu.data_length);
  io.field(8, pdu.isid);
  io.field(14, pdu.tsih);
  io.field(16, pdu.task_tag);
  numbers(io, pdu.window);
  io.field(36, pdu.status);
}

void layout(const auto& io, Is<TextRequest> auto& pdu) {
  io.flag(0, kImmediate, pdu.immediate);
  io.flag(1, kFinal, pdu.final);
  io.flag(1, kMore, pdu.more);
  io.data_length(pdu.data_length);
  tags(io, pdu);
  numbers(io, pdu);
}

void layout(const auto& io, Is<TextResponse> auto& pdu) {
  io.flag(1, kFinal, pdu.final);
  io.flag(1, kMore, pdu.more);
  io.data_length(pdu.data_length);
  tags(io, pdu);
  numbers(io, pdu.window);
}

void layout(const auto& io, Is<NopOut> auto& pdu) {
  io.flag(0, kImmediate, pdu.immediate);
  io.always_final();
  io.data_length(pdu.data_length);
  tags(io, pdu);
  numbers(io, pdu);
}

void layout(const auto& io, Is<NopIn> auto& pdu) {
  io.always_final();
  io.data_length(pdu.data_length);
  tags(io, pdu);
  numbers(io, pdu.window);
}

void layout(const auto& io, Is<LogoutRequest> auto& pdu) {
  io.flag(0, kImmediate, pdu.immediate);
  io.always_final();
  io.bits(1, 0x7f, pdu.reason);
  io.field(16, pdu.task_tag);
  io.field(20, pdu.cid);
  numbers(io, pdu);
}

void layout(const auto& io, Is<LogoutResponse> auto& pdu) {
  io.always_final();
  io.field(2, pdu.response);
  io.field(16, pdu.task_tag);
  numbers(io, pdu.window);
  io.field(40, pdu.time_to_wait);
  io.field(42, pdu.time_to_retain);
}

void layout(const auto& io, Is<AsyncMessage> auto& pdu) {
  io.always_final();
  io.data_length(pdu.data_length);
  io.field(8, pdu.lun);
  io.no_task();
  numbers(io, pdu.window);
  io.field(36, pdu.event);
  io.field(37, pdu.vendor_code);
  io.field(38, pdu.parameter1);
  io.field(40, pdu.parameter2);
  io.field(42, pdu.parameter3);
}

void layout(const auto& io, Is<Reject> auto& pdu) {
  io.always_final();
  io.field(2, pdu.reason);
  io.data_length(pdu.data_length);
  io.no_task();
  numbers(io, pdu.window);
}

template <typename Pdu>
Pdu decoded(BhsIn in) {
  Pdu pdu;
  layout(Decoder(in), pdu);
  return pdu;
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
  CommonHeader header{};
  const Decoder io(in);
  io.bits(0, 0x3f, header.op);
  io.flag(0, kImmediate, header.immediate);
  io.flag(1, kFinal, header.final);
  io.field(4, header.ahs_words);
  io.data_length(header.data_length);
  io.field(16, header.task_tag);
  return header;
}

void ScsiCommand::encode(BhsOut out) const { layout(Encoder(out, Op::kScsiCommand), *this); }
ScsiCommand ScsiCommand::decode(BhsIn in) { return decoded<ScsiCommand>(in); }

void ScsiResponse::encode(BhsOut out) const { layout(Encoder(out, Op::kScsiResponse), *this); }
ScsiResponse ScsiResponse::decode(BhsIn in) { return decoded<ScsiResponse>(in); }

void TaskRequest::encode(BhsOut out) const { layout(Encoder(out, Op::kTaskRequest), *this); }
TaskRequest TaskRequest::decode(BhsIn in) { return decoded<TaskRequest>(in); }

void TaskResponse::encode(BhsOut out) const { layout(Encoder(out, Op::kTaskResponse), *this); }
TaskResponse TaskResponse::decode(BhsIn in) { return decoded<TaskResponse>(in); }

void DataOut::encode(BhsOut out) const { layout(Encoder(out, Op::kDataOut), *this); }
DataOut DataOut::decode(BhsIn in) { return decoded<DataOut>(in); }

void LoginRequest::encode(BhsOut out) const { layout(Encoder(out, Op::kLoginRequest), *this); }
LoginRequest LoginRequest::decode(BhsIn in) { return decoded<LoginRequest>(in); }

void LoginResponse::encode(BhsOut out) const { layout(Encoder(out, Op::kLoginResponse), *this); }
LoginResponse LoginResponse::decode(BhsIn in) { return decoded<LoginResponse>(in); }

void TextRequest::encode(BhsOut out) const { layout(Encoder(out, Op::kTextRequest), *this); }
TextRequest TextRequest::decode(BhsIn in) { return decoded<TextRequest>(in); }

void TextResponse::encode(BhsOut out) const { layout(Encoder(out, Op::kTextResponse), *this); }
TextResponse TextResponse::decode(BhsIn in) { return decoded<TextResponse>(in); }

void NopOut::encode(BhsOut out) const { layout(Encoder(out, Op::kNopOut), *this); }
NopOut NopOut::decode(BhsIn in) { return decoded<NopOut>(in); }

void NopIn::encode(BhsOut out) const { layout(Encoder(out, Op::kNopIn), *this); }
NopIn NopIn::decode(BhsIn in) { return decoded<NopIn>(in); }

void LogoutRequest::encode(BhsOut out) const { layout(Encoder(out, Op::kLogoutRequest), *this); }
LogoutRequest LogoutRequest::decode(BhsIn in) { return decoded<LogoutRequest>(in); }

void LogoutResponse::encode(BhsOut out) const { layout(Encoder(out, Op::kLogoutResponse), *this); }
LogoutResponse LogoutResponse::decode(BhsIn in) { return decoded<LogoutResponse>(in); }

void AsyncMessage::encode(BhsOut out) const { layout(Encoder(out, Op::kAsync), *this); }
AsyncMessage AsyncMessage::decode(BhsIn in) { return decoded<AsyncMessage>(in); }

void Reject::encode(BhsOut out) const { layout(Encoder(out, Op::kReject), *this); }
Reject Reject::decode(BhsIn in) { return decoded<Reject>(in); }

}  // namespace mrpool::iscsi
