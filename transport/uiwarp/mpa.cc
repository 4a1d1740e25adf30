#include "transport/uiwarp/mpa.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace mrpool::uiwarp {

namespace {

constexpr char kRequestKey[] = "MPA ID Req Frame";
constexpr char kReplyKey[] = "MPA ID Rep Frame";
constexpr size_t kKeyBytes = 16;

constexpr uint16_t kMarkers = 0x8000;
constexpr uint16_t kCrc = 0x4000;
constexpr uint16_t kReject = 0x2000;
constexpr uint16_t kEnhanced = 0x1000;
constexpr uint16_t kLargeSegments = 0x0800;
// Two flags, not one: siw sends the flags of a request back in its reply, whatever they are.
constexpr uint16_t kHasExtensions = 0x0200;   // in a request
constexpr uint16_t kUsesExtensions = 0x0100;  // in a reply
constexpr uint16_t extensions_flag(bool reply) { return reply ? kUsesExtensions : kHasExtensions; }
constexpr uint16_t kRevisionMask = 0x00ff;

// In the IRD word: peer-to-peer, zero-length FPDU. In the ORD word: WRITE, READ.
constexpr uint16_t kFirstFlag = 0x8000;
constexpr uint16_t kSecondFlag = 0x4000;

constexpr uint8_t kHighestRevision = 2;

// The type of a TLS record, and the first byte of its version (RFC 8446 §5.1).
bool is_tls_record(std::span<const std::byte> bytes, std::byte type) {
  return bytes.size() >= 2 && bytes[0] == type && bytes[1] == std::byte{3};
}

}  // namespace

bool is_tls_alert(std::span<const std::byte> bytes) { return is_tls_record(bytes, std::byte{21}); }
bool is_tls_hello(std::span<const std::byte> bytes) { return is_tls_record(bytes, std::byte{22}); }

absl::StatusOr<size_t> mpa_private_bytes(std::span<const std::byte> header, bool reply) {
  if (header.size() < kMpaHeaderBytes ||
      std::memcmp(header.data(), reply ? kReplyKey : kRequestKey, kKeyBytes) != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("the peer did not start with an MPA ", reply ? "reply" : "request"));
  }
  const size_t bytes = load_be16(header.data() + kKeyBytes + 2);
  if (bytes > kMaxMpaPrivateBytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the peer announces ", bytes, " bytes of private data; MPA allows ", kMaxMpaPrivateBytes));
  }
  return bytes;
}

absl::StatusOr<MpaFrame> decode_mpa(std::span<const std::byte> bytes, bool reply) {
  absl::StatusOr<size_t> private_bytes = mpa_private_bytes(bytes, reply);
  if (!private_bytes.ok()) return private_bytes.status();
  if (bytes.size() < kMpaHeaderBytes + *private_bytes) {
    return absl::InvalidArgumentError("the MPA frame is cut short");
  }
  const uint16_t flags = load_be16(bytes.data() + kKeyBytes);
  MpaFrame frame;
  frame.reply = reply;
  frame.revision = flags & kRevisionMask;
  frame.markers = (flags & kMarkers) != 0;
  frame.crc = (flags & kCrc) != 0;
  frame.rejected = (flags & kReject) != 0;
  frame.large_segments = (flags & kLargeSegments) != 0;
  frame.extensions = (flags & extensions_flag(reply)) != 0;
  // Revision 1 knows no enhanced frames; the bit is reserved there and not looked at.
  frame.enhanced = frame.revision >= 2 && (flags & kEnhanced) != 0;
  frame.private_data = bytes.subspan(kMpaHeaderBytes, *private_bytes);
  if (frame.enhanced) {
    if (frame.private_data.size() < kMpaEnhancedBytes) {
      return absl::InvalidArgumentError("the enhanced MPA frame has no room for its READ depths");
    }
    const uint16_t ird = load_be16(frame.private_data.data());
    const uint16_t ord = load_be16(frame.private_data.data() + 2);
    frame.ird = ird & kReadDepthMask;
    frame.ord = ord & kReadDepthMask;
    frame.peer_to_peer = (ird & kFirstFlag) != 0;
    frame.rtr_zero_length = (ird & kSecondFlag) != 0;
    frame.rtr_write = (ord & kFirstFlag) != 0;
    frame.rtr_read = (ord & kSecondFlag) != 0;
    frame.private_data = frame.private_data.subspan(kMpaEnhancedBytes);
  }
  return frame;
}

std::vector<std::byte> encode_mpa(const MpaFrame& frame) {
  const size_t enhanced = frame.enhanced ? kMpaEnhancedBytes : 0;
  std::vector<std::byte> out(kMpaHeaderBytes + enhanced + frame.private_data.size());
  std::memcpy(out.data(), frame.reply ? kReplyKey : kRequestKey, kKeyBytes);
  const unsigned flags = (frame.markers ? kMarkers : 0u) | (frame.crc ? kCrc : 0u) |
                         (frame.rejected ? kReject : 0u) | (frame.enhanced ? kEnhanced : 0u) |
                         (frame.large_segments ? kLargeSegments : 0u) |
                         (frame.extensions ? extensions_flag(frame.reply) : 0u) | frame.revision;
  store_be16(out.data() + kKeyBytes, static_cast<uint16_t>(flags));
  store_be16(out.data() + kKeyBytes + 2,
             static_cast<uint16_t>(enhanced + frame.private_data.size()));
  if (frame.enhanced) {
    const unsigned ird = frame.ird | (frame.peer_to_peer ? kFirstFlag : 0u) |
                         (frame.rtr_zero_length ? kSecondFlag : 0u);
    const unsigned ord =
        frame.ord | (frame.rtr_write ? kFirstFlag : 0u) | (frame.rtr_read ? kSecondFlag : 0u);
    store_be16(out.data() + kMpaHeaderBytes, static_cast<uint16_t>(ird));
    store_be16(out.data() + kMpaHeaderBytes + 2, static_cast<uint16_t>(ord));
  }
  if (!frame.private_data.empty()) {
    std::memcpy(out.data() + kMpaHeaderBytes + enhanced, frame.private_data.data(),
                frame.private_data.size());
  }
  return out;
}

MpaFrame make_request(const MpaLimits& limits, std::span<const std::byte> private_data) {
  return {.crc = limits.crc,
          .large_segments = true,
          .extensions = limits.extensions,
          .enhanced = true,
          .ird = limits.ird,
          .ord = limits.ord,
          .peer_to_peer = true,
          .rtr_zero_length = false,
          .rtr_write = true,
          .rtr_read = limits.ord > 0,
          .private_data = private_data};
}

MpaFrame make_reject(const MpaFrame& request, std::span<const std::byte> private_data) {
  return {.reply = true,
          .revision = std::min(request.revision, kHighestRevision),
          .crc = request.crc,
          .rejected = true,
          .enhanced = request.enhanced,
          .ird = request.ord,
          .ord = request.ird,
          .private_data = private_data};
}

bool answer_request(const MpaFrame& request, const MpaLimits& limits,
                    std::span<const std::byte> private_data, MpaFrame& reply,
                    MpaAgreement& agreement) {
  if (request.markers || request.revision > kHighestRevision) {
    reply = make_reject(request, {});
    return false;
  }
  reply = {.reply = true,
           .revision = request.revision,
           .crc = limits.crc || request.crc,
           .large_segments = request.large_segments,
           .extensions = request.extensions && limits.extensions,
           .enhanced = request.enhanced,
           .private_data = private_data};
  agreement = {.crc = reply.crc, .ord = limits.ord, .ird = limits.ird, .rtr = Rtr::kNone};
  agreement.extensions = reply.extensions;
  if (!request.enhanced) return true;

  agreement.ord = std::min(limits.ord, known_depth(request.ird, limits.ord));
  agreement.ird = std::min(limits.ird, known_depth(request.ord, limits.ird));
  reply.ird = agreement.ird;
  reply.ord = agreement.ord;
  if (request.peer_to_peer) {
    reply.peer_to_peer = true;
    // A WRITE of nothing needs no resources on either side, so it is the first choice.
    if (request.rtr_write) {
      agreement.rtr = Rtr::kWrite;
      reply.rtr_write = true;
    } else if (request.rtr_read) {
      agreement.rtr = Rtr::kRead;
      reply.rtr_read = true;
      agreement.ird = std::max<uint16_t>(agreement.ird, 1);
      reply.ird = agreement.ird;
    } else {
      agreement.rtr = Rtr::kZeroLength;
      reply.rtr_zero_length = true;
    }
  }
  return true;
}

bool conclude(const MpaFrame& request, const MpaFrame& reply, const MpaLimits& limits,
              MpaAgreement& agreement, TerminateCode& why) {
  agreement = {.crc = request.crc || reply.crc, .ord = limits.ord, .ird = limits.ird};
  agreement.extensions = request.extensions && reply.extensions;
  if (reply.markers || reply.revision > request.revision) {
    why = term::kMpaBadFrame;
    return false;
  }
  if (!reply.enhanced) return true;
  agreement.ord = std::min(limits.ord, known_depth(reply.ird, limits.ord));
  const uint16_t peer_ord = known_depth(reply.ord, limits.ird);
  if (peer_ord > limits.max_ird) {
    why = term::kMpaInsufficientIrd;
    return false;
  }
  agreement.ird = std::max(limits.ird, peer_ord);
  if (reply.peer_to_peer) {
    if (reply.rtr_write && request.rtr_write) {
      agreement.rtr = Rtr::kWrite;
    } else if (reply.rtr_read && request.rtr_read) {
      agreement.rtr = Rtr::kRead;
    } else {
      why = term::kMpaNoMatchingRtr;
      return false;
    }
  }
  return true;
}

}  // namespace mrpool::uiwarp
