// The bytes of iWARP: FPDU framing (MPA, RFC 5044 §4), DDP segments (RFC 5041 §4) and RDMAP headers
// (RFC 5040 §4), as encoders and decoders over plain memory.
//
// An FPDU: length of the ULPDU (2) | DDP and RDMAP header | payload | 0..3 padding | CRC32C (4).
//   tagged   (WRITE, READ response):  control 2 | STag 4 | tagged offset 8                  = 14
//   untagged (SENDs, READ request, Terminate): control 2 | invalidate STag 4 | queue 4 |
//            MSN 4 | message offset 4                                                      = 18
// All numbers are big-endian, the CRC little-endian.
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

// RDMAP message kinds (RFC 5040 §4.1).
enum class MessageKind : uint8_t {
  kWrite = 0,
  kReadRequest = 1,
  kReadResponse = 2,
  kSend = 3,
  kSendInv = 4,
  kSendSe = 5,
  kSendSeInv = 6,
  kTerminate = 7,
};
constexpr bool is_send(MessageKind kind) {
  return kind >= MessageKind::kSend && kind <= MessageKind::kSendSeInv;
}
constexpr bool invalidates(MessageKind kind) {
  return kind == MessageKind::kSendInv || kind == MessageKind::kSendSeInv;
}
constexpr bool solicits(MessageKind kind) {
  return kind == MessageKind::kSendSe || kind == MessageKind::kSendSeInv;
}
constexpr MessageKind send_kind(bool invalidate, bool solicited) {
  if (invalidate) return solicited ? MessageKind::kSendSeInv : MessageKind::kSendInv;
  return solicited ? MessageKind::kSendSe : MessageKind::kSend;
}

// Untagged queues (RFC 5040 §4.3).
inline constexpr uint32_t kSendQueue = 0;
inline constexpr uint32_t kReadQueue = 1;
inline constexpr uint32_t kTerminateQueue = 2;

inline constexpr size_t kLengthBytes = 2;
inline constexpr size_t kTaggedHeaderBytes = 14;
inline constexpr size_t kUntaggedHeaderBytes = 18;
inline constexpr size_t kReadRequestBytes = 28;
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

// Header bytes of a segment, known from its first control byte.
inline size_t segment_header_bytes(std::byte control) {
  return std::to_integer<unsigned>(control) & 0x80u ? kTaggedHeaderBytes : kUntaggedHeaderBytes;
}

// `from` has segment_header_bytes(from[0]) bytes.
SegmentHeader decode_segment(const std::byte* from);
// Writes header.bytes() bytes and returns how many.
size_t encode_segment(const SegmentHeader& header, std::byte* to);

// kReadRequestBytes each.
ReadRequest decode_read_request(const std::byte* from);
void encode_read_request(const ReadRequest& request, std::byte* to);

}  // namespace mrpool::uiwarp
