#include "transport/uiwarp/mpa.h"

#include <gtest/gtest.h>

#include <string_view>

namespace mrpool::uiwarp {
namespace {

std::span<const std::byte> bytes_of(std::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

// What Linux's siw sends for `nvme connect`: revision 2, enhanced, no CRC, IRD 128, ORD 0 and 32
// bytes of the program's.
std::vector<std::byte> siw_request() {
  std::vector<std::byte> out;
  for (const char c : std::string_view("MPA ID Req Frame")) out.push_back(std::byte(c));
  for (const int b : {0x10, 0x02, 0x00, 0x24, 0x00, 0x80, 0x00, 0x00}) out.push_back(std::byte(b));
  out.resize(out.size() + 32, std::byte(0x5a));
  return out;
}

TEST(Mpa, ReadsWhatSiwSends) {
  const auto frame = decode_mpa(siw_request(), false);
  ASSERT_TRUE(frame.ok()) << frame.status();
  EXPECT_EQ(frame->revision, 2);
  EXPECT_TRUE(frame->enhanced);
  EXPECT_FALSE(frame->crc);
  EXPECT_FALSE(frame->markers);
  EXPECT_FALSE(frame->peer_to_peer);
  EXPECT_EQ(frame->ird, 128);
  EXPECT_EQ(frame->ord, 0);
  EXPECT_EQ(frame->private_data.size(), 32u);
}

TEST(Mpa, RequestBytes) {
  const auto wire = encode_mpa(make_request({.crc = true, .ord = 16, .ird = 8}, bytes_of("hi")));
  ASSERT_EQ(wire.size(), kMpaHeaderBytes + kMpaEnhancedBytes + 2);
  EXPECT_EQ(std::memcmp(wire.data(), "MPA ID Req Frame", 16), 0);
  EXPECT_EQ(load_be16(wire.data() + 16), 0x5a02);  // CRC, enhanced, larger segments, extensions, 2
  EXPECT_EQ(load_be16(wire.data() + 18), 6);
  EXPECT_EQ(load_be16(wire.data() + 20), 0x8000 | 8);   // peer to peer
  EXPECT_EQ(load_be16(wire.data() + 22), 0xc000 | 16);  // a WRITE or a READ will do
}

TEST(Mpa, ExtensionsNeedBothSides) {
  const auto agreed = [](bool initiator, bool responder) {
    const MpaFrame request = make_request({.extensions = initiator}, {});
    const auto seen = decode_mpa(encode_mpa(request), false);
    EXPECT_TRUE(seen.ok());
    MpaFrame reply;
    MpaAgreement there;
    EXPECT_TRUE(answer_request(*seen, {.extensions = responder}, {}, reply, there));
    const auto answer = decode_mpa(encode_mpa(reply), true);
    EXPECT_TRUE(answer.ok());
    MpaAgreement here;
    TerminateCode why;
    EXPECT_TRUE(conclude(request, *answer, {.extensions = initiator}, here, why));
    EXPECT_EQ(here.extensions, there.extensions);
    return here.extensions;
  };
  EXPECT_TRUE(agreed(true, true));
  EXPECT_FALSE(agreed(true, false));
  EXPECT_FALSE(agreed(false, true));
  EXPECT_FALSE(agreed(false, false));
}

TEST(Mpa, SiwAsksForNoExtensions) {
  const auto siw = decode_mpa(siw_request(), false);
  ASSERT_TRUE(siw.ok());
  MpaFrame reply;
  MpaAgreement agreement;
  ASSERT_TRUE(answer_request(*siw, {}, {}, reply, agreement));
  EXPECT_FALSE(agreement.extensions);
  EXPECT_EQ(load_be16(encode_mpa(reply).data() + 16) & 0x0700, 0);
}

// As a responder, siw writes the reply's key and its own depths into the request that it received
// and sends that: it returns flags that it does not know.
TEST(Mpa, SiwReturnsTheFlagsOfTheRequestAndHasNoExtensions) {
  const MpaFrame request = make_request({}, {});
  ASSERT_TRUE(request.extensions);
  auto wire = encode_mpa(request);
  std::memcpy(wire.data(), "MPA ID Rep Frame", 16);
  const auto reply = decode_mpa(wire, true);
  ASSERT_TRUE(reply.ok());
  MpaAgreement agreement;
  TerminateCode why;
  ASSERT_TRUE(conclude(request, *reply, {}, agreement, why));
  EXPECT_FALSE(agreement.extensions);
}

TEST(Mpa, FramesSurviveTheRoundTrip) {
  for (int bits = 0; bits < 512; ++bits) {
    MpaFrame frame{.reply = (bits & 1) != 0,
                   .markers = (bits & 2) != 0,
                   .crc = (bits & 4) != 0,
                   .rejected = (bits & 8) != 0,
                   .enhanced = true,
                   .ird = 0x3fff,
                   .ord = 1,
                   .peer_to_peer = (bits & 16) != 0,
                   .rtr_zero_length = (bits & 32) != 0,
                   .rtr_write = (bits & 64) != 0,
                   .rtr_read = (bits & 128) != 0,
                   .private_data = bytes_of("data")};
    const auto wire = encode_mpa(frame);
    const auto back = decode_mpa(wire, frame.reply);
    ASSERT_TRUE(back.ok());
    EXPECT_EQ(back->markers, frame.markers);
    EXPECT_EQ(back->crc, frame.crc);
    EXPECT_EQ(back->rejected, frame.rejected);
    EXPECT_EQ(back->ird, frame.ird);
    EXPECT_EQ(back->ord, frame.ord);
    EXPECT_EQ(back->peer_to_peer, frame.peer_to_peer);
    EXPECT_EQ(back->rtr_zero_length, frame.rtr_zero_length);
    EXPECT_EQ(back->rtr_write, frame.rtr_write);
    EXPECT_EQ(back->rtr_read, frame.rtr_read);
    EXPECT_EQ(back->private_data.size(), 4u);
  }
}

TEST(Mpa, RefusesInvalidFrames) {
  auto wire = siw_request();
  EXPECT_FALSE(decode_mpa(wire, true).ok()) << "a request is no reply";
  EXPECT_FALSE(mpa_private_bytes(std::span(wire).first(19), false).ok());
  EXPECT_FALSE(decode_mpa(std::span(wire).first(40), false).ok()) << "cut short";
  store_be16(wire.data() + 18, 513);
  EXPECT_FALSE(mpa_private_bytes(wire, false).ok()) << "more than 512 bytes announced";
  store_be16(wire.data() + 18, 3);
  EXPECT_FALSE(decode_mpa(wire, false).ok()) << "no room for the READ depths";
  wire[3] = std::byte('x');
  EXPECT_FALSE(mpa_private_bytes(wire, false).ok());
}

// Both sides' wishes and what comes of them.
TEST(Mpa, NegotiationMatrix) {
  for (const bool ours : {false, true}) {
    for (const bool theirs : {false, true}) {
      for (const uint8_t revision : {1, 2}) {
        for (const int rtr : {0, 1, 2, 4, 7}) {
          SCOPED_TRACE(testing::Message() << "crc " << ours << theirs << " revision "
                                          << int(revision) << " rtr " << rtr);
          MpaFrame request{.revision = revision,
                           .crc = theirs,
                           .enhanced = revision == 2,
                           .ird = 4,
                           .ord = 40,
                           .peer_to_peer = rtr != 0,
                           .rtr_zero_length = (rtr & 1) != 0,
                           .rtr_write = (rtr & 2) != 0,
                           .rtr_read = (rtr & 4) != 0};
          const auto wire = encode_mpa(request);
          const auto seen = decode_mpa(wire, false);
          ASSERT_TRUE(seen.ok());
          MpaFrame reply;
          MpaAgreement agreement;
          ASSERT_TRUE(answer_request(*seen, {.crc = ours, .ord = 16, .ird = 16}, bytes_of("ok"),
                                     reply, agreement));
          EXPECT_EQ(reply.revision, revision);
          EXPECT_EQ(reply.enhanced, revision == 2);
          EXPECT_EQ(reply.crc, ours || theirs);
          EXPECT_EQ(agreement.crc, ours || theirs);
          EXPECT_EQ(agreement.ord, revision == 2 ? 4 : 16);
          EXPECT_EQ(agreement.ird, 16);
          const Rtr expected = revision == 1 || rtr == 0 ? Rtr::kNone
                               : (rtr & 2) != 0          ? Rtr::kWrite
                               : (rtr & 4) != 0          ? Rtr::kRead
                                                         : Rtr::kZeroLength;
          EXPECT_EQ(agreement.rtr, expected);
          EXPECT_EQ(reply.peer_to_peer, expected != Rtr::kNone);
          EXPECT_EQ(int(reply.rtr_write) + int(reply.rtr_read) + int(reply.rtr_zero_length),
                    expected == Rtr::kNone ? 0 : 1);
        }
      }
    }
  }
}

TEST(Mpa, MarkersAreRefused) {
  const MpaFrame request{.markers = true, .enhanced = true};
  MpaFrame reply;
  MpaAgreement agreement;
  EXPECT_FALSE(answer_request(request, {}, {}, reply, agreement));
  EXPECT_TRUE(reply.rejected);
  EXPECT_TRUE(reply.reply);
}

TEST(Mpa, InitiatorConcludes) {
  const MpaLimits limits{.crc = false, .ord = 16, .ird = 16};
  const MpaFrame request = make_request(limits, {});
  MpaAgreement agreement;
  TerminateCode why;
  // An old responder: revision 1, no depths.
  ASSERT_TRUE(conclude(request, {.reply = true, .revision = 1}, limits, agreement, why));
  EXPECT_EQ(agreement.ord, 16);
  EXPECT_EQ(agreement.rtr, Rtr::kNone);
  EXPECT_FALSE(agreement.crc);
  // The responder wants a CRC and serves four READs.
  ASSERT_TRUE(conclude(request, {.reply = true, .crc = true, .enhanced = true, .ird = 4, .ord = 2},
                       limits, agreement, why));
  EXPECT_TRUE(agreement.crc);
  EXPECT_EQ(agreement.ord, 4);
  EXPECT_EQ(agreement.ird, 16);
  // It chooses the READ.
  ASSERT_TRUE(conclude(
      request,
      {.reply = true, .enhanced = true, .ird = 4, .ord = 2, .peer_to_peer = true, .rtr_read = true},
      limits, agreement, why));
  EXPECT_EQ(agreement.rtr, Rtr::kRead);
  // It chooses what was not offered.
  EXPECT_FALSE(conclude(request,
                        {.reply = true,
                         .enhanced = true,
                         .ird = 4,
                         .ord = 2,
                         .peer_to_peer = true,
                         .rtr_zero_length = true},
                        limits, agreement, why));
  EXPECT_EQ(why, term::kMpaNoMatchingRtr);
  // It wants to READ more than this device serves.
  EXPECT_FALSE(conclude(request, {.reply = true, .enhanced = true, .ird = 4, .ord = 2000}, limits,
                        agreement, why));
  EXPECT_EQ(why, term::kMpaInsufficientIrd);
  // It insists on markers.
  EXPECT_FALSE(conclude(request, {.reply = true, .markers = true}, limits, agreement, why));
  EXPECT_EQ(why, term::kMpaBadFrame);
}

TEST(Mpa, DepthsThatAreNotNegotiated) {
  MpaFrame reply;
  MpaAgreement agreement;
  ASSERT_TRUE(answer_request({.enhanced = true, .ird = kReadDepthMask, .ord = kReadDepthMask},
                             {.ord = 16, .ird = 8}, {}, reply, agreement));
  EXPECT_EQ(agreement.ord, 16);
  EXPECT_EQ(agreement.ird, 8);
}

TEST(Mpa, RejectMirrorsTheRequestAndKeepsItsData) {
  const auto frame = decode_mpa(siw_request(), false);
  const auto wire = encode_mpa(make_reject(*frame, bytes_of("why")));
  const auto back = decode_mpa(wire, true);
  ASSERT_TRUE(back.ok());
  EXPECT_TRUE(back->rejected);
  EXPECT_EQ(back->revision, 2);
  EXPECT_EQ(back->private_data.size(), 3u);
}

}  // namespace
}  // namespace mrpool::uiwarp
