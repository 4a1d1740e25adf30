#include "transport/uiwarp/terminate.h"

#include "mrpool/statistics.h"

namespace mrpool::uiwarp {

namespace {

// HdrCt bits in the third byte: segment length, DDP header, RDMAP header are included.
constexpr unsigned kHasLength = 0x80;
constexpr unsigned kHasDdp = 0x40;
constexpr unsigned kHasRdmap = 0x20;

}  // namespace

std::string_view to_string(const TerminateCode& code) {
  return terminate_counter(code.layer, code.type, code.code).text;
}

size_t encode_terminate(const Terminate& terminate, std::byte* to) {
  unsigned included = 0;
  size_t at = 4;
  if (terminate.segment) {
    included |= kHasLength | kHasDdp;
    store_be16(to + at, terminate.segment_bytes);
    at += 2;
    at += encode_segment(*terminate.segment, to + at);
    if (terminate.read) {
      included |= kHasRdmap;
      encode_read_request(*terminate.read, to + at);
      at += kReadRequestBytes;
    }
  }
  to[0] = std::byte(unsigned{terminate.code.layer} << 4 | (terminate.code.type & 0x0fu));
  to[1] = std::byte(terminate.code.code);
  to[2] = std::byte(included);
  to[3] = std::byte(0);
  return at;
}

std::optional<Terminate> decode_terminate(std::span<const std::byte> payload) {
  if (payload.size() < 4) return std::nullopt;
  Terminate out;
  const auto first = std::to_integer<unsigned>(payload[0]);
  const auto included = std::to_integer<unsigned>(payload[2]);
  out.code = {uint8_t(first >> 4), uint8_t(first & 0x0f), std::to_integer<uint8_t>(payload[1])};
  payload = payload.subspan(4);
  if (included & kHasLength) {
    if (payload.size() < 2) return std::nullopt;
    out.segment_bytes = load_be16(payload.data());
    payload = payload.subspan(2);
  }
  if (included & kHasDdp) {
    if (payload.empty() || payload.size() < segment_header_bytes(payload[0])) return std::nullopt;
    out.segment = decode_segment(payload.data());
    payload = payload.subspan(out.segment->bytes());
  }
  if ((included & kHasRdmap) && payload.size() >= kReadRequestBytes) {
    out.read = decode_read_request(payload.data());
  }
  return out;
}

}  // namespace mrpool::uiwarp
