// SCSI status codes and sense data (SAM-5 §5.3, SPC-4 §4.5).
//
// Thread safety: values.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace mrpool::scsi {

enum class Status : uint8_t {
  kGood = 0x00,
  kCheckCondition = 0x02,
  kConditionMet = 0x04,
  kBusy = 0x08,
  kReservationConflict = 0x18,
  kTaskSetFull = 0x28,
  kTaskAborted = 0x40,
};

enum class SenseKey : uint8_t {
  kNoSense = 0x0,
  kNotReady = 0x2,
  kMediumError = 0x3,
  kHardwareError = 0x4,
  kIllegalRequest = 0x5,
  kUnitAttention = 0x6,
  kDataProtect = 0x7,
  kCopyAborted = 0xa,
  kAbortedCommand = 0xb,
  kMiscompare = 0xe,
};

// What the unit answered that a copy reads from or writes to.
struct Forwarded {
  enum class By : uint8_t { kNobody, kSource, kDestination };
  By by = By::kNobody;
  Status status = Status::kGood;
  SenseKey key = SenseKey::kNoSense;  // with CHECK CONDITION, like the two below
  uint8_t asc = 0;
  uint8_t ascq = 0;
  friend bool operator==(const Forwarded&, const Forwarded&) = default;
};

struct Sense {
  SenseKey key = SenseKey::kNoSense;
  uint8_t asc = 0;
  uint8_t ascq = 0;
  // INFORMATION: where a compare failed, in bytes; the block that cannot be read; of COPY ABORTED
  // the blocks that were not written.
  std::optional<uint64_t> information{};
  // For ILLEGAL REQUEST and COPY ABORTED: the byte of the CDB, of the parameter list, or of the
  // segment descriptor, that is wrong.
  std::optional<uint16_t> field{};
  bool field_in_cdb = false;
  bool field_in_segment = false;
  // For COPY ABORTED: the number of the segment descriptor.
  std::optional<uint16_t> segment{};
  Forwarded forwarded{};

  friend bool operator==(const Sense&, const Sense&) = default;
  bool same_code(const Sense& other) const {
    return key == other.key && asc == other.asc && ascq == other.ascq;
  }
  // The same condition, pointing at a byte.
  constexpr Sense at_cdb(uint16_t byte) const {
    Sense sense = *this;
    sense.field = byte;
    sense.field_in_cdb = true;
    return sense;
  }
  constexpr Sense at_parameter(uint16_t byte) const {
    Sense sense = *this;
    sense.field = byte;
    return sense;
  }
  constexpr Sense at_segment(uint16_t byte) const {
    Sense sense = at_parameter(byte);
    sense.field_in_segment = true;
    return sense;
  }
};

inline constexpr Sense kNoSense{};
inline constexpr Sense kInvalidOpcode{SenseKey::kIllegalRequest, 0x20, 0x00};
inline constexpr Sense kLbaOutOfRange{SenseKey::kIllegalRequest, 0x21, 0x00};
inline constexpr Sense kInvalidFieldInCdb{SenseKey::kIllegalRequest, 0x24, 0x00};
inline constexpr Sense kLunNotSupported{SenseKey::kIllegalRequest, 0x25, 0x00};
inline constexpr Sense kInvalidFieldInParameters{SenseKey::kIllegalRequest, 0x26, 0x00};
inline constexpr Sense kInvalidRelease{SenseKey::kIllegalRequest, 0x26, 0x04};
inline constexpr Sense kParameterListLength{SenseKey::kIllegalRequest, 0x1a, 0x00};
inline constexpr Sense kTooManyCopyUnits{SenseKey::kIllegalRequest, 0x26, 0x06};
inline constexpr Sense kUnknownCopyUnit{SenseKey::kIllegalRequest, 0x26, 0x07};
inline constexpr Sense kTooManySegments{SenseKey::kIllegalRequest, 0x26, 0x08};
inline constexpr Sense kUnknownSegment{SenseKey::kIllegalRequest, 0x26, 0x09};
inline constexpr Sense kInlineDataLength{SenseKey::kIllegalRequest, 0x26, 0x0b};
inline constexpr Sense kOperationInProgress{SenseKey::kIllegalRequest, 0x00, 0x16};
inline constexpr Sense kSavingNotSupported{SenseKey::kIllegalRequest, 0x39, 0x00};
inline constexpr Sense kInsufficientRegistrations{SenseKey::kIllegalRequest, 0x55, 0x04};
inline constexpr Sense kStopped{SenseKey::kNotReady, 0x04, 0x02};  // needs START STOP UNIT
inline constexpr Sense kNotReady{SenseKey::kNotReady, 0x04, 0x00};
// Another port may have access.
inline constexpr Sense kPortUnavailable{SenseKey::kNotReady, 0x04, 0x0c};
inline constexpr Sense kPortStandby{SenseKey::kNotReady, 0x04, 0x0b};
inline constexpr Sense kAccessTransition{SenseKey::kNotReady, 0x04, 0x0a};
inline constexpr Sense kWriteProtected{SenseKey::kDataProtect, 0x27, 0x00};
inline constexpr Sense kSpaceAllocationFailed{SenseKey::kDataProtect, 0x27, 0x07};
inline constexpr Sense kReadError{SenseKey::kMediumError, 0x11, 0x00};
inline constexpr Sense kWriteError{SenseKey::kMediumError, 0x0c, 0x00};
// The list of marked blocks is full, or cannot be kept.
inline constexpr Sense kNoDefectSpare{SenseKey::kMediumError, 0x32, 0x00};
inline constexpr Sense kDefectListUpdateFailure{SenseKey::kMediumError, 0x32, 0x01};
inline constexpr Sense kInternalFailure{SenseKey::kHardwareError, 0x44, 0x00};
inline constexpr Sense kMiscompare{SenseKey::kMiscompare, 0x1d, 0x00};
// Of a segment of a copy (SPC-4 §5.17.7.4).
inline constexpr Sense kWrongSegment{SenseKey::kCopyAborted, 0x00, 0x00};
inline constexpr Sense kUnreachableCopyTarget{SenseKey::kCopyAborted, 0x08, 0x04};
inline constexpr Sense kThirdPartyFailure{SenseKey::kCopyAborted, 0x0d, 0x01};
inline constexpr Sense kCopyUnitNotReachable{SenseKey::kCopyAborted, 0x0d, 0x02};
inline constexpr Sense kWrongCopyUnitType{SenseKey::kCopyAborted, 0x0d, 0x03};
inline constexpr Sense kWrongCopyUnit{SenseKey::kCopyAborted, 0x26, 0x00};
inline constexpr Sense kInexactSegment{SenseKey::kCopyAborted, 0x26, 0x0a};
inline constexpr Sense kNotEnoughUnsolicitedData{SenseKey::kAbortedCommand, 0x0c, 0x0d};
inline constexpr Sense kUnexpectedUnsolicitedData{SenseKey::kAbortedCommand, 0x0c, 0x0c};
inline constexpr Sense kDataTransferError{SenseKey::kAbortedCommand, 0x4b, 0x00};

// Unit attentions (SPC-4 §5.14).
inline constexpr Sense kPowerOn{SenseKey::kUnitAttention, 0x29, 0x00};
inline constexpr Sense kDeviceReset{SenseKey::kUnitAttention, 0x29, 0x03};
inline constexpr Sense kNexusLoss{SenseKey::kUnitAttention, 0x29, 0x07};
inline constexpr Sense kModeParametersChanged{SenseKey::kUnitAttention, 0x2a, 0x01};
inline constexpr Sense kReservationsPreempted{SenseKey::kUnitAttention, 0x2a, 0x03};
inline constexpr Sense kReservationsReleased{SenseKey::kUnitAttention, 0x2a, 0x04};
inline constexpr Sense kRegistrationsPreempted{SenseKey::kUnitAttention, 0x2a, 0x05};
inline constexpr Sense kAccessStateChanged{SenseKey::kUnitAttention, 0x2a, 0x06};
inline constexpr Sense kCapacityChanged{SenseKey::kUnitAttention, 0x2a, 0x09};
inline constexpr Sense kInquiryDataChanged{SenseKey::kUnitAttention, 0x3f, 0x03};
inline constexpr Sense kLunsChanged{SenseKey::kUnitAttention, 0x3f, 0x0e};

inline constexpr size_t kMaxSenseSize = 56;
// Writes sense data in fixed (70h) or descriptor (72h) format; returns its size.
size_t encode(const Sense& sense, bool descriptor_format, std::span<uint8_t, kMaxSenseSize> out);
// "illegal request, logical unit not supported (5/25/00)": key, meaning where it is known, and the
// numbers.
std::string to_string(const Sense& sense);

// Reads either format; nothing when it is neither.
std::optional<Sense> decode_sense(std::span<const uint8_t> in);

}  // namespace mrpool::scsi
