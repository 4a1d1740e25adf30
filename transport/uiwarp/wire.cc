#include "transport/uiwarp/wire.h"

namespace mrpool::uiwarp {

namespace {
constexpr unsigned kTaggedFlag = 0x80;
constexpr unsigned kLastFlag = 0x40;
constexpr unsigned kDdpVersionMask = 0x03;
constexpr unsigned kRdmapVersionShift = 6;
constexpr unsigned kOpcodeMask = 0x0f;
constexpr uint32_t kAtomicCodeMask = 0x0f;
}  // namespace

SegmentHeader decode_segment(const std::byte* from) {
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

size_t encode_segment(const SegmentHeader& header, std::byte* to) {
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

ReadRequest decode_read_request(const std::byte* from) {
  return {.sink_stag = load_be32(from),
          .sink_offset = load_be64(from + 4),
          .length = load_be32(from + 12),
          .source_stag = load_be32(from + 16),
          .source_offset = load_be64(from + 20)};
}

void encode_read_request(const ReadRequest& request, std::byte* to) {
  store_be32(to, request.sink_stag);
  store_be64(to + 4, request.sink_offset);
  store_be32(to + 12, request.length);
  store_be32(to + 16, request.source_stag);
  store_be64(to + 20, request.source_offset);
}

AtomicRequest decode_atomic_request(const std::byte* from) {
  return {.code = static_cast<AtomicCode>(load_be32(from) & kAtomicCodeMask),
          .id = load_be32(from + 4),
          .stag = load_be32(from + 8),
          .offset = load_be64(from + 12),
          .add_swap = load_be64(from + 20),
          .add_swap_mask = load_be64(from + 28),
          .compare = load_be64(from + 36),
          .compare_mask = load_be64(from + 44)};
}

void encode_atomic_request(const AtomicRequest& request, std::byte* to) {
  store_be32(to, static_cast<uint32_t>(request.code));
  store_be32(to + 4, request.id);
  store_be32(to + 8, request.stag);
  store_be64(to + 12, request.offset);
  store_be64(to + 20, request.add_swap);
  store_be64(to + 28, request.add_swap_mask);
  store_be64(to + 36, request.compare);
  store_be64(to + 44, request.compare_mask);
}

AtomicResponse decode_atomic_response(const std::byte* from) {
  return {.id = load_be32(from), .original = load_be64(from + 4)};
}

void encode_atomic_response(const AtomicResponse& response, std::byte* to) {
  store_be32(to, response.id);
  store_be64(to + 4, response.original);
}

}  // namespace mrpool::uiwarp
