// Terminate: the message about a violation that one side sends before it closes (RFC 5040 §4.8),
// with the codes of RDMAP, DDP (RFC 5041 §7) and MPA (RFC 5044 §8, RFC 6581 §7).
//
// Thread safety: values.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "transport/uiwarp/wire.h"

namespace mrpool::uiwarp {

// Layer, error type and error code: what travels in the first two bytes.
struct TerminateCode {
  uint8_t layer = 0;
  uint8_t type = 0;
  uint8_t code = 0;
  friend bool operator==(const TerminateCode&, const TerminateCode&) = default;
};

namespace term {
// RDMAP: layer 0.
inline constexpr TerminateCode kLocalCatastrophic{0, 0, 0};
inline constexpr TerminateCode kReadInvalidStag{0, 1, 0};
inline constexpr TerminateCode kReadBounds{0, 1, 1};
inline constexpr TerminateCode kReadAccess{0, 1, 2};
inline constexpr TerminateCode kReadNotAssociated{0, 1, 3};
inline constexpr TerminateCode kReadOffsetWrap{0, 1, 4};
inline constexpr TerminateCode kCannotInvalidate{0, 1, 9};
inline constexpr TerminateCode kProtectionUnspecified{0, 1, 0xff};
inline constexpr TerminateCode kRdmapVersion{0, 2, 5};
inline constexpr TerminateCode kUnexpectedOpcode{0, 2, 6};
inline constexpr TerminateCode kStreamCatastrophic{0, 2, 7};
inline constexpr TerminateCode kOperationUnspecified{0, 2, 0xff};
// DDP, tagged buffers: layer 1, type 1. Access to a live key without the right is RDMAP's: 0/1/2.
inline constexpr TerminateCode kTaggedInvalidStag{1, 1, 0};
inline constexpr TerminateCode kTaggedBounds{1, 1, 1};
inline constexpr TerminateCode kTaggedNotAssociated{1, 1, 2};
inline constexpr TerminateCode kTaggedOffsetWrap{1, 1, 3};
inline constexpr TerminateCode kTaggedDdpVersion{1, 1, 4};
// DDP, untagged buffers: layer 1, type 2.
inline constexpr TerminateCode kUntaggedQueue{1, 2, 1};
inline constexpr TerminateCode kUntaggedNoBuffer{1, 2, 2};
inline constexpr TerminateCode kUntaggedMsnRange{1, 2, 3};
inline constexpr TerminateCode kUntaggedOffset{1, 2, 4};
inline constexpr TerminateCode kUntaggedTooLong{1, 2, 5};
inline constexpr TerminateCode kUntaggedDdpVersion{1, 2, 6};
// MPA: layer 2.
inline constexpr TerminateCode kMpaCrc{2, 0, 2};
inline constexpr TerminateCode kMpaLength{2, 0, 3};
inline constexpr TerminateCode kMpaBadFrame{2, 0, 4};
inline constexpr TerminateCode kMpaInsufficientIrd{2, 0, 6};
inline constexpr TerminateCode kMpaNoMatchingRtr{2, 0, 7};
}  // namespace term

// "remote protection error: base or bounds violation"; for people.
std::string_view to_string(const TerminateCode& code);

// A Terminate message: the code and, where there is one, the segment that was refused.
struct Terminate {
  TerminateCode code;
  uint16_t segment_bytes = 0;  // its ULPDU length
  std::optional<SegmentHeader> segment = std::nullopt;
  std::optional<ReadRequest> read = std::nullopt;
};

inline constexpr size_t kMaxTerminateBytes = 4 + 2 + kUntaggedHeaderBytes + kReadRequestBytes;

// Writes at most kMaxTerminateBytes of RDMAP payload and returns how many.
size_t encode_terminate(const Terminate& terminate, std::byte* to);
// Nothing when the payload is not a whole Terminate.
std::optional<Terminate> decode_terminate(std::span<const std::byte> payload);

}  // namespace mrpool::uiwarp
