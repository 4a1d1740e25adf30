// MPA set-up frames: a frame that is understood survives the round trip, and whatever is agreed on
// stays within what both sides offered.
#include "transport/uiwarp/mpa.h"

#include <algorithm>

#include "tests/fuzz/fuzz.h"

namespace mrpool::uiwarp {
namespace {

void check_round_trip(const MpaFrame& frame) {
  const std::vector<std::byte> wire = encode_mpa(frame);
  const auto again = decode_mpa(wire, frame.reply);
  FUZZ_CHECK(again.ok());
  FUZZ_CHECK(again->crc == frame.crc && again->markers == frame.markers &&
             again->rejected == frame.rejected && again->enhanced == frame.enhanced);
  FUZZ_CHECK(std::ranges::equal(again->private_data, frame.private_data));
  if (!frame.enhanced) return;
  FUZZ_CHECK(again->ird == frame.ird && again->ord == frame.ord &&
             again->peer_to_peer == frame.peer_to_peer);
}

void as_responder(std::span<const std::byte> bytes, const MpaLimits& limits) {
  const auto frame = decode_mpa(bytes, false);
  if (!frame.ok()) return;
  check_round_trip(*frame);
  MpaFrame reply;
  MpaAgreement agreement;
  if (!answer_request(*frame, limits, {}, reply, agreement)) {
    FUZZ_CHECK(reply.rejected);
    return;
  }
  FUZZ_CHECK(!reply.markers && !reply.rejected);
  FUZZ_CHECK(agreement.ird <= std::max(limits.ird, limits.max_ird));
  FUZZ_CHECK(agreement.ord <= limits.ord);
  if (frame->enhanced && frame->ird != kReadDepthMask) FUZZ_CHECK(agreement.ord <= frame->ird);
  FUZZ_CHECK(agreement.crc || (!limits.crc && !frame->crc));
  check_round_trip(reply);
}

void as_initiator(std::span<const std::byte> bytes, const MpaLimits& limits) {
  const auto reply = decode_mpa(bytes, true);
  if (!reply.ok()) return;
  check_round_trip(*reply);
  if (reply->rejected) return;
  MpaAgreement agreement;
  TerminateCode why;
  const MpaFrame request = make_request(limits, {});
  if (!conclude(request, *reply, limits, agreement, why)) return;
  FUZZ_CHECK(agreement.ord <= limits.ord);
  FUZZ_CHECK(agreement.ird <= std::max(limits.ird, limits.max_ird));
}

}  // namespace
}  // namespace mrpool::uiwarp

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  mrpool::fuzz::Input input(data, size);
  const uint8_t choice = input.take<uint8_t>();
  const mrpool::uiwarp::MpaLimits limits{.crc = (choice & 1) != 0,
                                         .ord = static_cast<uint16_t>(choice >> 4),
                                         .ird = static_cast<uint16_t>(1 + (choice >> 2 & 3))};
  const auto bytes = input.rest();
  const auto more = mrpool::uiwarp::mpa_private_bytes(bytes, false);
  if (more.ok()) FUZZ_CHECK(*more <= mrpool::uiwarp::kMaxMpaPrivateBytes);
  mrpool::uiwarp::as_responder(bytes, limits);
  mrpool::uiwarp::as_initiator(bytes, limits);
  return 0;
}
