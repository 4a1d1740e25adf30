// The Basic Header Segments of iSCSI (RFC 7143 §11), one plain struct for each PDU that travels
// over iSER, with both directions of the codec: targets decode what initiators encode.
//
// A header is always 48 bytes. Decoding never fails: every bit pattern means something, and what is
// not allowed is for the session to judge. R2T, SCSI Data-In and SNACK are missing because iSER
// replaces them (RFC 7145 §7.3); their opcodes are known so that a peer that sends one is answered.
//
// Thread safety: values. Units: lengths in bytes, times in seconds.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace mrpool::iscsi {

inline constexpr size_t kBhsSize = 48;
using BhsOut = std::span<std::byte, kBhsSize>;
using BhsIn = std::span<const std::byte, kBhsSize>;

enum class Op : uint8_t {
  kNopOut = 0x00,
  kScsiCommand = 0x01,
  kTaskRequest = 0x02,
  kLoginRequest = 0x03,
  kTextRequest = 0x04,
  kDataOut = 0x05,
  kLogoutRequest = 0x06,
  kSnack = 0x10,
  kNopIn = 0x20,
  kScsiResponse = 0x21,
  kTaskResponse = 0x22,
  kLoginResponse = 0x23,
  kTextResponse = 0x24,
  kDataIn = 0x25,
  kLogoutResponse = 0x26,
  kR2t = 0x31,
  kAsync = 0x32,
  kReject = 0x3f,
};
std::string_view to_string(Op op);

inline constexpr uint32_t kReservedTag = 0xffffffff;

// What every header has in the same place.
struct CommonHeader {
  Op op;
  bool immediate;
  bool final;
  uint8_t ahs_words;     // TotalAHSLength
  uint32_t data_length;  // DataSegmentLength, without padding
  uint32_t task_tag;     // Initiator Task Tag
  uint32_t ahs_bytes() const { return uint32_t{ahs_words} * 4; }
};
CommonHeader decode_common(BhsIn in);

// Serial number arithmetic of CmdSN and StatSN (RFC 1982, 32 bits).
constexpr bool sn_less(uint32_t a, uint32_t b) { return int32_t(a - b) < 0; }
constexpr bool sn_less_equal(uint32_t a, uint32_t b) { return int32_t(a - b) <= 0; }

enum class TaskAttribute : uint8_t { kUntagged, kSimple, kOrdered, kHeadOfQueue, kAca };

struct ScsiCommand {
  bool immediate = false;
  bool final = true;  // no unsolicited Data-Out follows
  bool read = false;
  bool write = false;
  TaskAttribute attribute = TaskAttribute::kSimple;
  uint8_t ahs_words = 0;
  uint32_t data_length = 0;  // immediate data
  uint64_t lun = 0;
  uint32_t task_tag = 0;
  uint32_t expected_length = 0;  // Expected Data Transfer Length
  uint32_t cmd_sn = 0;
  uint32_t exp_stat_sn = 0;
  std::array<uint8_t, 16> cdb{};

  void encode(BhsOut out) const;
  static ScsiCommand decode(BhsIn in);
  friend bool operator==(const ScsiCommand&, const ScsiCommand&) = default;
};

// The tail that every response of a target carries.
struct Window {
  uint32_t stat_sn = 0;
  uint32_t exp_cmd_sn = 0;
  uint32_t max_cmd_sn = 0;
  friend bool operator==(const Window&, const Window&) = default;
};

enum class Residual : uint8_t { kNone, kUnderflow, kOverflow };

struct ScsiResponse {
  enum Code : uint8_t { kCompleted = 0, kTargetFailure = 1 };
  uint8_t response = kCompleted;
  uint8_t status = 0;  // SAM status
  Residual residual = Residual::kNone;
  uint32_t residual_count = 0;
  uint32_t data_length = 0;  // SenseLength field plus sense data
  uint32_t task_tag = 0;
  Window window{};
  uint32_t exp_data_sn = 0;

  void encode(BhsOut out) const;
  static ScsiResponse decode(BhsIn in);
  friend bool operator==(const ScsiResponse&, const ScsiResponse&) = default;
};

enum class TaskFunction : uint8_t {
  kAbortTask = 1,
  kAbortTaskSet = 2,
  kClearAca = 3,
  kClearTaskSet = 4,
  kLogicalUnitReset = 5,
  kTargetWarmReset = 6,
  kTargetColdReset = 7,
  kTaskReassign = 8,
};

struct TaskRequest {
  bool immediate = true;
  TaskFunction function = TaskFunction::kAbortTask;
  uint64_t lun = 0;
  uint32_t task_tag = 0;
  uint32_t referenced_tag = kReservedTag;
  uint32_t cmd_sn = 0;
  uint32_t exp_stat_sn = 0;
  uint32_t ref_cmd_sn = 0;

  void encode(BhsOut out) const;
  static TaskRequest decode(BhsIn in);
  friend bool operator==(const TaskRequest&, const TaskRequest&) = default;
};

struct TaskResponse {
  enum Code : uint8_t {
    kComplete = 0,
    kNoTask = 1,
    kNoLun = 2,
    kStillAllegiant = 3,
    kNoReassign = 4,
    kNotSupported = 5,
    kNotAuthorized = 6,
    kRejected = 255,
  };
  uint8_t response = kComplete;
  uint32_t task_tag = 0;
  Window window{};

  void encode(BhsOut out) const;
  static TaskResponse decode(BhsIn in);
  friend bool operator==(const TaskResponse&, const TaskResponse&) = default;
};

// A Data-Out that nobody asked for: with iSER solicited data travels by RDMA READ.
struct DataOut {
  bool final = true;
  uint32_t data_length = 0;
  uint64_t lun = 0;
  uint32_t task_tag = 0;
  uint32_t transfer_tag = kReservedTag;
  uint32_t exp_stat_sn = 0;
  uint32_t data_sn = 0;
  uint32_t buffer_offset = 0;

  void encode(BhsOut out) const;
  static DataOut decode(BhsIn in);
  friend bool operator==(const DataOut&, const DataOut&) = default;
};

enum class Stage : uint8_t { kSecurity = 0, kOperational = 1, kFullFeature = 3 };

using Isid = std::array<uint8_t, 6>;

struct LoginRequest {
  bool transit = false;
  bool more = false;  // the text continues in the next request
  uint8_t current_stage = 0;
  uint8_t next_stage = 0;
  uint8_t version_max = 0;
  uint8_t version_min = 0;
  uint32_t data_length = 0;
  Isid isid{};
  uint16_t tsih = 0;
  uint32_t task_tag = 0;
  uint16_t cid = 0;
  uint32_t cmd_sn = 0;
  uint32_t exp_stat_sn = 0;

  void encode(BhsOut out) const;
  static LoginRequest decode(BhsIn in);
  friend bool operator==(const LoginRequest&, const LoginRequest&) = default;
};

// Status-Class in the high byte, Status-Detail in the low one (RFC 7143 §11.13.5).
enum class LoginStatus : uint16_t {
  kSuccess = 0x0000,
  kTargetMovedTemporarily = 0x0101,
  kTargetMovedPermanently = 0x0102,
  kInitiatorError = 0x0200,
  kAuthenticationFailure = 0x0201,
  kAuthorizationFailure = 0x0202,
  kTargetNotFound = 0x0203,
  kTargetRemoved = 0x0204,
  kUnsupportedVersion = 0x0205,
  kTooManyConnections = 0x0206,
  kMissingParameter = 0x0207,
  kCannotIncludeInSession = 0x0208,
  kSessionTypeNotSupported = 0x0209,
  kSessionDoesNotExist = 0x020a,
  kInvalidDuringLogin = 0x020b,
  kTargetError = 0x0300,
  kServiceUnavailable = 0x0301,
  kOutOfResources = 0x0302,
};
std::string_view to_string(LoginStatus status);

struct LoginResponse {
  bool transit = false;
  bool more = false;
  uint8_t current_stage = 0;
  uint8_t next_stage = 0;
  uint8_t version_max = 0;
  uint8_t version_active = 0;
  uint32_t data_length = 0;
  Isid isid{};
  uint16_t tsih = 0;
  uint32_t task_tag = 0;
  Window window{};
  LoginStatus status = LoginStatus::kSuccess;

  void encode(BhsOut out) const;
  static LoginResponse decode(BhsIn in);
  friend bool operator==(const LoginResponse&, const LoginResponse&) = default;
};

struct TextRequest {
  bool immediate = false;
  bool final = true;
  bool more = false;
  uint32_t data_length = 0;
  uint64_t lun = 0;
  uint32_t task_tag = 0;
  uint32_t transfer_tag = kReservedTag;
  uint32_t cmd_sn = 0;
  uint32_t exp_stat_sn = 0;

  void encode(BhsOut out) const;
  static TextRequest decode(BhsIn in);
  friend bool operator==(const TextRequest&, const TextRequest&) = default;
};

struct TextResponse {
  bool final = true;
  bool more = false;
  uint32_t data_length = 0;
  uint64_t lun = 0;
  uint32_t task_tag = 0;
  uint32_t transfer_tag = kReservedTag;
  Window window{};

  void encode(BhsOut out) const;
  static TextResponse decode(BhsIn in);
  friend bool operator==(const TextResponse&, const TextResponse&) = default;
};

struct NopOut {
  bool immediate = true;
  uint32_t data_length = 0;
  uint64_t lun = 0;
  uint32_t task_tag = kReservedTag;
  uint32_t transfer_tag = kReservedTag;
  uint32_t cmd_sn = 0;
  uint32_t exp_stat_sn = 0;

  void encode(BhsOut out) const;
  static NopOut decode(BhsIn in);
  friend bool operator==(const NopOut&, const NopOut&) = default;
};

struct NopIn {
  uint32_t data_length = 0;
  uint64_t lun = 0;
  uint32_t task_tag = kReservedTag;
  uint32_t transfer_tag = kReservedTag;
  Window window{};

  void encode(BhsOut out) const;
  static NopIn decode(BhsIn in);
  friend bool operator==(const NopIn&, const NopIn&) = default;
};

struct LogoutRequest {
  enum Reason : uint8_t { kCloseSession = 0, kCloseConnection = 1, kRemoveForRecovery = 2 };
  bool immediate = true;
  uint8_t reason = kCloseSession;
  uint32_t task_tag = 0;
  uint16_t cid = 0;
  uint32_t cmd_sn = 0;
  uint32_t exp_stat_sn = 0;

  void encode(BhsOut out) const;
  static LogoutRequest decode(BhsIn in);
  friend bool operator==(const LogoutRequest&, const LogoutRequest&) = default;
};

struct LogoutResponse {
  enum Code : uint8_t {
    kClosed = 0,
    kCidNotFound = 1,
    kRecoveryNotSupported = 2,
    kCleanupFailed = 3,
  };
  uint8_t response = kClosed;
  uint32_t task_tag = 0;
  Window window{};
  uint16_t time_to_wait = 2;
  uint16_t time_to_retain = 0;

  void encode(BhsOut out) const;
  static LogoutResponse decode(BhsIn in);
  friend bool operator==(const LogoutResponse&, const LogoutResponse&) = default;
};

struct AsyncMessage {
  enum Event : uint8_t {
    kScsi = 0,
    kRequestLogout = 1,
    kDropConnection = 2,
    kDropSession = 3,
    kRenegotiate = 4,
  };
  uint32_t data_length = 0;
  uint64_t lun = 0;
  Window window{};
  uint8_t event = kScsi;
  uint8_t vendor_code = 0;
  uint16_t parameter1 = 0;
  uint16_t parameter2 = 0;
  uint16_t parameter3 = 0;

  void encode(BhsOut out) const;
  static AsyncMessage decode(BhsIn in);
  friend bool operator==(const AsyncMessage&, const AsyncMessage&) = default;
};

enum class RejectReason : uint8_t {
  kDataDigest = 0x02,
  kSnack = 0x03,
  kProtocolError = 0x04,
  kNotSupported = 0x05,
  kTooManyImmediate = 0x06,
  kTaskInProgress = 0x07,
  kInvalidDataAck = 0x08,
  kInvalidField = 0x09,
  kOutOfResources = 0x0a,
  kNegotiationReset = 0x0b,
  kWaitingForLogout = 0x0c,
};
std::string_view to_string(RejectReason reason);

// Its data segment is the header that was refused.
struct Reject {
  RejectReason reason = RejectReason::kProtocolError;
  uint32_t data_length = kBhsSize;
  Window window{};

  void encode(BhsOut out) const;
  static Reject decode(BhsIn in);
  friend bool operator==(const Reject&, const Reject&) = default;
};

}  // namespace mrpool::iscsi
