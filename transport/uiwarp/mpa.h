// MPA connection set-up: the request and reply frames (RFC 5044 §7.1), the enhanced set-up with
// READ depths and ready-to-receive (RFC 6581), and what the two sides agree on. Bytes in, decisions
// out; sockets and timers are connection's.
//
//   key 16 | flags and revision 2 | private data length 2 | [enhanced: IRD 2 | ORD 2] | private
//
// What the two sides agree on:
//   CRC                when either side wants it
//   markers            none; a peer that requires them is refused
//   ORD                of each side at most the IRD of the other
//   ready to receive   the message after which the responder may send
//   RFC 7306           whether its operations are used
// RFC 7306 leaves the last to the programs; a flag
// that peers without it ignore spares them that.
// Not agreed: the size of an FPDU, limits.h.
//
// Thread safety: values.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "transport/uiwarp/terminate.h"

namespace mrpool::uiwarp {

inline constexpr size_t kMpaHeaderBytes = 20;
inline constexpr size_t kMaxMpaPrivateBytes = 512;
inline constexpr size_t kMpaEnhancedBytes = 4;
// What a program may send, whichever version the peer speaks.
inline constexpr uint16_t kMaxPrivateData = kMaxMpaPrivateBytes - kMpaEnhancedBytes;
inline constexpr size_t kMaxMpaFrameBytes = kMpaHeaderBytes + kMaxMpaPrivateBytes;
// READ depths have 14 bits; all ones means "not negotiated" (RFC 6581 §9).
inline constexpr uint16_t kReadDepthMask = 0x3fff;
constexpr uint16_t known_depth(uint16_t depth, uint16_t otherwise) {
  return depth == kReadDepthMask ? otherwise : depth;
}

// How the initiator shows the responder that it may send (RFC 6581 §8): the responder of MPA must
// not send before it has seen an FPDU of the initiator.
enum class Rtr : uint8_t { kNone, kWrite, kRead, kZeroLength };

struct MpaFrame {
  bool reply = false;
  uint8_t revision = 2;
  bool markers = false;
  bool crc = false;
  bool rejected = false;
  bool large_segments = false;  // Linux siw's flag 0x0800: FPDUs beyond the TCP segment are welcome
  // Two flags that RFC 5044 reserves and that no receiver looks at but this one. 0x0200 in a
  // request: the sender has the operations of RFC 7306. 0x0100 in a reply: both have. siw returns
  // the request's flags in its reply, so one flag for both would make it agree.
  bool extensions = false;
  bool enhanced = false;
  // Enhanced frames only.
  uint16_t ird = 0;
  uint16_t ord = 0;
  bool peer_to_peer = false;
  bool rtr_zero_length = false;
  bool rtr_write = false;
  bool rtr_read = false;
  std::span<const std::byte> private_data = {};  // into the bytes it was decoded from
};

// How many bytes of private data follow the first kMpaHeaderBytes; an error when these are not the
// start of a frame of the expected kind, or announce too much. Nothing more need be read then.
absl::StatusOr<size_t> mpa_private_bytes(std::span<const std::byte> header, bool reply);
// Whether `bytes` begin as an alert or as a handshake of TLS: the peer expects it, or uses it.
bool is_tls_alert(std::span<const std::byte> bytes);
bool is_tls_hello(std::span<const std::byte> bytes);
// `bytes` holds header and private data.
absl::StatusOr<MpaFrame> decode_mpa(std::span<const std::byte> bytes, bool reply);
std::vector<std::byte> encode_mpa(const MpaFrame& frame);

// One side's wishes and limits.
struct MpaLimits {
  bool crc = true;
  uint16_t ord = 16;
  uint16_t ird = 16;
  bool extensions = true;  // immediate data and atomics (RFC 7306)
  uint16_t max_ird = 128;  // how far ird may be raised to what a peer announces as its ORD
};

// What a connection runs with.
struct MpaAgreement {
  bool crc = false;
  uint16_t ord = 0;
  uint16_t ird = 0;
  Rtr rtr = Rtr::kNone;
  bool extensions = false;
};

MpaFrame make_request(const MpaLimits& limits, std::span<const std::byte> private_data);
// Nothing when the request cannot be served (a marker or revision demand); `reply` is then the
// reject to send.
bool answer_request(const MpaFrame& request, const MpaLimits& limits,
                    std::span<const std::byte> private_data, MpaFrame& reply,
                    MpaAgreement& agreement);
MpaFrame make_reject(const MpaFrame& request, std::span<const std::byte> private_data);
// The initiator's view of an accepting reply. On false `why` has the code of the Terminate.
bool conclude(const MpaFrame& request, const MpaFrame& reply, const MpaLimits& limits,
              MpaAgreement& agreement, TerminateCode& why);

}  // namespace mrpool::uiwarp
