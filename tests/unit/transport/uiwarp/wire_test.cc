#include "transport/uiwarp/wire.h"

#include <gtest/gtest.h>

#include <array>
#include <initializer_list>
#include <string_view>
#include <vector>

#include "transport/uiwarp/atomics.h"
#include "transport/uiwarp/crc32c.h"
#include "transport/uiwarp/terminate.h"

namespace mrpool::uiwarp {
namespace {

std::vector<std::byte> bytes(std::initializer_list<int> values) {
  std::vector<std::byte> out;
  for (const int value : values) out.push_back(std::byte(value));
  return out;
}

template <typename T>
std::vector<std::byte> encoded(const T& header) {
  std::vector<std::byte> out(64);
  out.resize(encode_segment(header, out.data()));
  return out;
}

// RFC 3720 appendix B.4 and the check value of the catalogue of parametrised CRCs.
TEST(Crc32c, KnownVectors) {
  const auto crc_of = [](std::span<const std::byte> data) {
    Crc32c crc;
    crc.update(data);
    return crc.value();
  };
  EXPECT_EQ(crc_of(std::vector<std::byte>(32, std::byte(0))), 0x8a9136aau);
  EXPECT_EQ(crc_of(std::vector<std::byte>(32, std::byte(0xff))), 0x62a8ab43u);
  std::vector<std::byte> rising(32);
  for (int i = 0; i < 32; ++i) rising[i] = std::byte(i);
  EXPECT_EQ(crc_of(rising), 0x46dd794eu);
  const std::string_view digits = "123456789";
  EXPECT_EQ(crc_of(std::as_bytes(std::span(digits))), 0xe3069283u);
}

TEST(Crc32c, DoesNotDependOnTheCut) {
  std::vector<std::byte> data(1000);
  for (size_t i = 0; i < data.size(); ++i) data[i] = std::byte(i * 7);
  Crc32c whole;
  whole.update(data);
  for (size_t cut = 0; cut <= data.size(); cut += 37) {
    Crc32c parts;
    parts.update(data.data(), cut);
    parts.update(data.data() + cut, data.size() - cut);
    EXPECT_EQ(parts.value(), whole.value());
  }
}

// As Linux's siw puts a last WRITE segment on the wire.
TEST(Wire, TaggedSegmentBytes) {
  const SegmentHeader header{.kind = MessageKind::kWrite,
                             .tagged = true,
                             .last = true,
                             .stag = 0x01020304,
                             .offset = 0x1122334455667788};
  EXPECT_EQ(encoded(header),
            bytes({0xc1, 0x40, 1, 2, 3, 4, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88}));
}

TEST(Wire, UntaggedSegmentBytes) {
  const SegmentHeader header{.kind = MessageKind::kSendSeInv,
                             .last = false,
                             .invalidate = 0xa1b2c3d4,
                             .queue = 0,
                             .msn = 7,
                             .mo = 0x10000};
  EXPECT_EQ(encoded(header),
            bytes({0x01, 0x46, 0xa1, 0xb2, 0xc3, 0xd4, 0, 0, 0, 0, 0, 0, 0, 7, 0, 1, 0, 0}));
}

TEST(Wire, SegmentsSurviveTheRoundTrip) {
  for (int kind = 0; kind < 16; ++kind) {
    for (const bool tagged : {false, true}) {
      SegmentHeader header{.kind = MessageKind(kind), .tagged = tagged, .last = kind % 2 == 0};
      if (tagged) {
        header.stag = 0xdeadbeef;
        header.offset = ~uint64_t{0} - kind;
      } else {
        header.invalidate = 5;
        header.queue = 2;
        header.msn = 0xffffffff;
        header.mo = 0x80000000;
      }
      const auto wire = encoded(header);
      EXPECT_EQ(wire.size(), segment_header_bytes(wire[0]));
      const SegmentHeader back = decode_segment(wire.data());
      EXPECT_EQ(back.kind, header.kind);
      EXPECT_EQ(back.tagged, tagged);
      EXPECT_EQ(back.last, header.last);
      EXPECT_EQ(back.ddp_version, 1);
      EXPECT_EQ(back.rdmap_version, 1);
      EXPECT_EQ(back.stag, header.stag);
      EXPECT_EQ(back.offset, header.offset);
      EXPECT_EQ(back.invalidate, header.invalidate);
      EXPECT_EQ(back.queue, header.queue);
      EXPECT_EQ(back.msn, header.msn);
      EXPECT_EQ(back.mo, header.mo);
    }
  }
}

TEST(Wire, ReadRequestBytes) {
  std::array<std::byte, kReadRequestBytes> wire;
  encode_read_request({.sink_stag = 1,
                       .sink_offset = 2,
                       .length = 3,
                       .source_stag = 4,
                       .source_offset = 0x0500000000000006},
                      wire.data());
  EXPECT_EQ(
      std::vector(wire.begin(), wire.end()),
      bytes({0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 5, 0, 0, 0, 0, 0, 0, 6}));
  const ReadRequest back = decode_read_request(wire.data());
  EXPECT_EQ(back.length, 3u);
  EXPECT_EQ(back.source_offset, 0x0500000000000006u);
}

TEST(Wire, PaddingBringsLengthAndUlpduToFour) {
  for (size_t ulpdu = 0; ulpdu < 100; ++ulpdu) {
    EXPECT_EQ((kLengthBytes + ulpdu + pad_bytes(ulpdu)) % 4, 0u);
    EXPECT_LT(pad_bytes(ulpdu), 4u);
    EXPECT_EQ(fpdu_bytes(ulpdu) % 4, 0u);
  }
}

TEST(Terminate, CarriesTheRefusedSegment) {
  Terminate terminate{
      .code = term::kReadBounds,
      .segment_bytes = 46,
      .segment =
          SegmentHeader{
              .kind = MessageKind::kReadRequest, .last = true, .queue = kReadQueue, .msn = 9},
      .read = ReadRequest{.sink_stag = 0x77, .length = 4096}};
  std::array<std::byte, kMaxTerminateBytes> wire;
  const size_t size = encode_terminate(terminate, wire.data());
  EXPECT_EQ(size, kMaxTerminateBytes);
  EXPECT_EQ(wire[0], std::byte(0x01));  // layer 0, type 1
  EXPECT_EQ(wire[1], std::byte(0x01));
  EXPECT_EQ(wire[2], std::byte(0xe0));  // length, DDP and RDMAP headers are there
  const auto back = decode_terminate({wire.data(), size});
  ASSERT_TRUE(back.has_value());
  EXPECT_EQ(back->code, term::kReadBounds);
  ASSERT_TRUE(back->segment.has_value());
  EXPECT_EQ(back->segment->msn, 9u);
  ASSERT_TRUE(back->read.has_value());
  EXPECT_EQ(back->read->sink_stag, 0x77u);
}

TEST(Terminate, TruncatedAnywhereDoesNotCrash) {
  Terminate terminate{.code = term::kTaggedBounds,
                      .segment_bytes = 100,
                      .segment = SegmentHeader{.kind = MessageKind::kWrite, .tagged = true}};
  std::array<std::byte, kMaxTerminateBytes> wire;
  const size_t size = encode_terminate(terminate, wire.data());
  for (size_t cut = 0; cut < size; ++cut) {
    EXPECT_FALSE(decode_terminate({wire.data(), cut}).has_value()) << cut;
  }
  EXPECT_TRUE(decode_terminate({wire.data(), size}).has_value());
}

TEST(Terminate, EveryCodeHasAName) {
  EXPECT_EQ(to_string(term::kMpaCrc), "MPA error: CRC check failed");
  EXPECT_EQ(to_string(TerminateCode{7, 7, 7}), "unknown Terminate code");
}

// RFC 7306: the numbers of the messages and queues, and every field where it belongs. Wireshark's
// dissector, which tests/conformance/tshark_test.py asks, agrees with these.
TEST(Wire, AtomicRequestBytes) {
  std::vector<std::byte> out(kAtomicRequestBytes);
  encode_atomic_request({.code = AtomicCode::kCompareSwap,
                         .id = 0x01020304,
                         .stag = 0x05060708,
                         .offset = 0x1122334455667788,
                         .add_swap = 0xa1a2a3a4a5a6a7a8,
                         .add_swap_mask = 0xffffffffffffffff,
                         .compare = 0xb1b2b3b4b5b6b7b8,
                         .compare_mask = 0xfffffffffffffffe},
                        out.data());
  EXPECT_EQ(out, bytes({0,    0,    0,    2,                                // CmpSwap
                        1,    2,    3,    4,                                // identifier
                        5,    6,    7,    8,                                // STag
                        0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88,     // tagged offset
                        0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8,     // swap data
                        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,     // swap mask
                        0xb1, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8,     // compare data
                        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe}));  // compare mask
  EXPECT_EQ(decode_atomic_request(out.data()).compare_mask, 0xfffffffffffffffeu);

  encode_atomic_request({.code = AtomicCode::kFetchAdd, .id = 9, .add_swap = 1}, out.data());
  EXPECT_EQ(load_be32(out.data()), 0u);
  const AtomicRequest add = decode_atomic_request(out.data());
  EXPECT_EQ(add, (AtomicRequest{.code = AtomicCode::kFetchAdd, .id = 9, .add_swap = 1}));
  // What is reserved is not looked at.
  out[0] = std::byte(0xff);
  EXPECT_EQ(decode_atomic_request(out.data()), add);
}

TEST(Wire, AtomicResponseBytes) {
  std::vector<std::byte> out(kAtomicResponseBytes);
  encode_atomic_response({.id = 0x01020304, .original = 0x1122334455667788}, out.data());
  EXPECT_EQ(out, bytes({1, 2, 3, 4, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88}));
  EXPECT_EQ(decode_atomic_response(out.data()).original, 0x1122334455667788u);
}

TEST(Wire, ImmediateBytes) {
  std::vector<std::byte> out(kImmediateBytes, std::byte(0xee));
  encode_immediate(0x01020304, out.data());
  EXPECT_EQ(out, bytes({1, 2, 3, 4, 0, 0, 0, 0}));
  EXPECT_EQ(decode_immediate(out.data()), 0x01020304u);
}

TEST(Wire, ExtensionSegmentBytes) {
  EXPECT_EQ(encoded(SegmentHeader{.kind = MessageKind::kImmediate, .last = true, .msn = 3}),
            bytes({0x41, 0x48, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0}));
  EXPECT_EQ(encoded(SegmentHeader{.kind = MessageKind::kImmediateSe, .last = true, .msn = 3})[1],
            std::byte(0x49));
  EXPECT_EQ(encoded(SegmentHeader{
                .kind = MessageKind::kAtomicRequest, .last = true, .queue = kReadQueue, .msn = 7}),
            bytes({0x41, 0x4a, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 7, 0, 0, 0, 0}));
  EXPECT_EQ(encoded(SegmentHeader{.kind = MessageKind::kAtomicResponse,
                                  .last = true,
                                  .queue = kAtomicResponseQueue,
                                  .msn = 7}),
            bytes({0x41, 0x4b, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 7, 0, 0, 0, 0}));
}

TEST(Atomics, WhatTheValueBecomes) {
  constexpr uint64_t kAll = ~uint64_t{0};
  const auto add = [](uint64_t value, uint64_t added, uint64_t mask) {
    return result_of({.code = AtomicCode::kFetchAdd, .add_swap = added, .add_swap_mask = mask},
                     value);
  };
  EXPECT_EQ(add(kAll, 1, 0), 0u);
  EXPECT_EQ(add(7, 0, 0), 7u);
  // No carry out of a masked position: two sums of 32 bits.
  EXPECT_EQ(add(0x00000001ffffffff, 0x0000000100000001, 0x8000000080000000), 0x0000000200000000u);
  // All positions masked: none carries, which is an exclusive or.
  EXPECT_EQ(add(0b1100, 0b1010, kAll), 0b0110u);

  const AtomicRequest swap{.code = AtomicCode::kCompareSwap,
                           .add_swap = 0xabcd,
                           .add_swap_mask = 0xff,
                           .compare = 0x1200,
                           .compare_mask = 0xff00};
  EXPECT_EQ(result_of(swap, 0x1234), 0x12cdu);  // equal under the mask: the low byte is swapped
  EXPECT_EQ(result_of(swap, 0x1334), 0x1334u);
}

}  // namespace
}  // namespace mrpool::uiwarp
