// Encoders and decoders of iWARP over plain memory:
//   FPDU framing                      MPA, RFC 5044 §4
//   DDP segments                      RFC 5041 §4
//   RDMAP headers                     RFC 5040 §4
//   immediate data, atomics           RFC 7306
//
// An FPDU: length of the ULPDU (2) | DDP and RDMAP header | payload | 0..3 padding | CRC32C (4).
//   tagged   (WRITE, READ response):  control 2 | STag 4 | tagged offset 8                  = 14
//   untagged (SENDs, READ request, Terminate, immediate data, atomics): control 2 |
//            invalidate STag 4 | queue 4 | MSN 4 | message offset 4                        = 18
// Payloads of the extensions:
//   immediate data: value 4 | reserved 4                                                   =  8
//   atomic request: reserved and operation 4 | identifier 4 | STag 4 | tagged offset 8 |
//            add or swap data 8 | add or swap mask 8 | compare data 8 | compare mask 8     = 52
//   atomic response: identifier 4 | original value 8                                       = 12
// All numbers are big-endian, the CRC little-endian. The largest FPDU that is sent: limits.h,
// kMaxSegmentPayload.
//
// Thread safety: pure functions.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace mrpool::uiwarp {

static_assert(std::endian::native == std::endian::little);

inline uint16_t load_be16(const std::byte* p) {
  uint16_t v;
  std::memcpy(&v, p, sizeof v);
  return __builtin_bswap16(v);
}
inline uint32_t load_be32(const std::byte* p) {
  uint32_t v;
  std::memcpy(&v, p, sizeof v);
  return __builtin_bswap32(v);
}
inline uint64_t load_be64(const std::byte* p) {
  uint64_t v;
  std::memcpy(&v, p, sizeof v);
  return __builtin_bswap64(v);
}
inline uint32_t load_le32(const std::byte* p) {
  uint32_t v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
inline void store_be16(std::byte* p, uint16_t v) {
  v = __builtin_bswap16(v);
  std::memcpy(p, &v, sizeof v);
}
inline void store_be32(std::byte* p, uint32_t v) {
  v = __builtin_bswap32(v);
  std::memcpy(p, &v, sizeof v);
}
inline void store_be64(std::byte* p, uint64_t v) {
  v = __builtin_bswap64(v);
  std::memcpy(p, &v, sizeof v);
}
inline void store_le32(std::byte* p, uint32_t v) { std::memcpy(p, &v, sizeof v); }

// RDMAP message kinds (RFC 5040 §4.1; from kImmediate on RFC 7306 §4).
enum class MessageKind : uint8_t {
  kWrite = 0,
  kReadRequest = 1,
  kReadResponse = 2,
  kSend = 3,
  kSendInv = 4,
  kSendSe = 5,
  kSendSeInv = 6,
  kTerminate = 7,
  kImmediate = 8,
  kImmediateSe = 9,
  kAtomicRequest = 10,
  kAtomicResponse = 11,
};
// How many values the header's field has.
inline constexpr size_t kMessageKinds = 16;
constexpr bool is_immediate(MessageKind kind) {
  return kind == MessageKind::kImmediate || kind == MessageKind::kImmediateSe;
}
constexpr bool is_send(MessageKind kind) {
  return kind >= MessageKind::kSend && kind <= MessageKind::kSendSeInv;
}
constexpr bool invalidates(MessageKind kind) {
  return kind == MessageKind::kSendInv || kind == MessageKind::kSendSeInv;
}
constexpr bool solicits(MessageKind kind) {
  return kind == MessageKind::kSendSe || kind == MessageKind::kSendSeInv ||
         kind == MessageKind::kImmediateSe;
}
constexpr MessageKind send_kind(bool invalidate, bool solicited) {
  if (invalidate) return solicited ? MessageKind::kSendSeInv : MessageKind::kSendInv;
  return solicited ? MessageKind::kSendSe : MessageKind::kSend;
}

// Untagged queues (RFC 5040 §4.3).
inline constexpr uint32_t kSendQueue = 0;
inline constexpr uint32_t kReadQueue = 1;
inline constexpr uint32_t kTerminateQueue = 2;
inline constexpr uint32_t kAtomicResponseQueue = 3;  // RFC 7306; requests share kReadQueue

inline constexpr size_t kLengthBytes = 2;
inline constexpr size_t kTaggedHeaderBytes = 14;
inline constexpr size_t kUntaggedHeaderBytes = 18;
inline constexpr size_t kReadRequestBytes = 28;
inline constexpr size_t kImmediateBytes = 8;
inline constexpr size_t kAtomicRequestBytes = 52;
inline constexpr size_t kAtomicResponseBytes = 12;
inline constexpr size_t kCrcBytes = 4;
inline constexpr size_t kMaxTrailerBytes = 3 + kCrcBytes;
// Length field plus the longest header that precedes payload.
inline constexpr size_t kMaxSegmentHeaderBytes = kLengthBytes + kUntaggedHeaderBytes;
inline constexpr size_t kMaxUlpduBytes = 0xffff;

// Bytes of padding that bring length field plus ULPDU to a multiple of four.
constexpr size_t pad_bytes(size_t ulpdu) { return (4 - (kLengthBytes + ulpdu) % 4) % 4; }
constexpr size_t fpdu_bytes(size_t ulpdu) {
  return kLengthBytes + ulpdu + pad_bytes(ulpdu) + kCrcBytes;
}

// One DDP segment's header, decoded. `stag` and `offset` of a tagged segment, or `invalidate`,
// `queue`, `msn` and `mo` of an untagged one.
struct SegmentHeader {
  MessageKind kind = MessageKind::kSend;
  bool tagged = false;
  bool last = false;
  uint8_t ddp_version = 1;
  uint8_t rdmap_version = 1;
  uint32_t stag = 0;
  uint64_t offset = 0;
  uint32_t invalidate = 0;
  uint32_t queue = 0;
  uint32_t msn = 0;
  uint32_t mo = 0;

  size_t bytes() const { return tagged ? kTaggedHeaderBytes : kUntaggedHeaderBytes; }
};

struct ReadRequest {
  uint32_t sink_stag = 0;
  uint64_t sink_offset = 0;
  uint32_t length = 0;
  uint32_t source_stag = 0;
  uint64_t source_offset = 0;
};

// The operations of an atomic request, by their number on the wire.
enum class AtomicCode : uint8_t { kFetchAdd = 0, kCompareSwap = 2 };

// On 64 bits at `offset` of `stag`. A FetchAdd adds `add_swap`; a set bit of `add_swap_mask` lets
// no carry out of its position, so that a mask of 0 makes one sum. A CmpSwap compares under
// `compare_mask` and, when equal, stores what `add_swap_mask` selects of `add_swap`.
struct AtomicRequest {
  AtomicCode code = AtomicCode::kFetchAdd;
  uint32_t id = 0;  // comes back in the response
  uint32_t stag = 0;
  uint64_t offset = 0;
  uint64_t add_swap = 0;
  uint64_t add_swap_mask = 0;
  uint64_t compare = 0;
  uint64_t compare_mask = 0;
  friend bool operator==(const AtomicRequest&, const AtomicRequest&) = default;
};

struct AtomicResponse {
  uint32_t id = 0;
  uint64_t original = 0;
};

// The two control bytes.
inline constexpr unsigned kTaggedFlag = 0x80;
inline constexpr unsigned kLastFlag = 0x40;
inline constexpr unsigned kDdpVersionMask = 0x03;
inline constexpr unsigned kRdmapVersionShift = 6;
inline constexpr unsigned kOpcodeMask = 0x0f;

// Header bytes of a segment, known from its first control byte.
inline size_t segment_header_bytes(std::byte control) {
  return (std::to_integer<unsigned>(control) & kTaggedFlag) != 0 ? kTaggedHeaderBytes
                                                                 : kUntaggedHeaderBytes;
}

// These two are in every FPDU's way, so they are inline.

// `from` has segment_header_bytes(from[0]) bytes.
inline SegmentHeader decode_segment(const std::byte* from) {
  const auto ddp = std::to_integer<unsigned>(from[0]);
  const auto rdmap = std::to_integer<unsigned>(from[1]);
  SegmentHeader header;
  header.tagged = (ddp & kTaggedFlag) != 0;
  header.last = (ddp & kLastFlag) != 0;
  header.ddp_version = ddp & kDdpVersionMask;
  header.rdmap_version = static_cast<uint8_t>(rdmap >> kRdmapVersionShift);
  header.kind = static_cast<MessageKind>(rdmap & kOpcodeMask);
  if (header.tagged) {
    header.stag = load_be32(from + 2);
    header.offset = load_be64(from + 6);
  } else {
    header.invalidate = load_be32(from + 2);
    header.queue = load_be32(from + 6);
    header.msn = load_be32(from + 10);
    header.mo = load_be32(from + 14);
  }
  return header;
}

// Writes header.bytes() bytes and returns how many.
inline size_t encode_segment(const SegmentHeader& header, std::byte* to) {
  to[0] = std::byte((header.tagged ? kTaggedFlag : 0) | (header.last ? kLastFlag : 0) |
                    header.ddp_version);
  to[1] = std::byte(unsigned{header.rdmap_version} << kRdmapVersionShift | unsigned(header.kind));
  if (header.tagged) {
    store_be32(to + 2, header.stag);
    store_be64(to + 6, header.offset);
  } else {
    store_be32(to + 2, header.invalidate);
    store_be32(to + 6, header.queue);
    store_be32(to + 10, header.msn);
    store_be32(to + 14, header.mo);
  }
  return header.bytes();
}

// kReadRequestBytes each.
ReadRequest decode_read_request(const std::byte* from);
void encode_read_request(const ReadRequest& request, std::byte* to);

// kAtomicRequestBytes each. The code may have a value that AtomicCode does not have.
AtomicRequest decode_atomic_request(const std::byte* from);
void encode_atomic_request(const AtomicRequest& request, std::byte* to);
// kAtomicResponseBytes each.
AtomicResponse decode_atomic_response(const std::byte* from);
void encode_atomic_response(const AtomicResponse& response, std::byte* to);
// kImmediateBytes each. Verbs' 32 bits of immediate data lead; the other four bytes are 0.
inline uint32_t decode_immediate(const std::byte* from) { return load_be32(from); }
inline void encode_immediate(uint32_t imm, std::byte* to) {
  store_be32(to, imm);
  store_be32(to + 4, 0);
}

}  // namespace mrpool::uiwarp
