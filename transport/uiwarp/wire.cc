#include "transport/uiwarp/wire.h"

namespace mrpool::uiwarp {

namespace {
constexpr uint32_t kAtomicCodeMask = 0x0f;
}  // namespace

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
