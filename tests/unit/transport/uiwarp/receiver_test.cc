// The receive state machine against a byte stream cut at every place.
#include "transport/uiwarp/receiver.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <string>
#include <vector>

namespace mrpool::uiwarp {
namespace {

std::vector<std::byte> make_fpdu(const SegmentHeader& header, size_t payload, bool crc_on,
                                 unsigned seed = 0) {
  const size_t ulpdu = header.bytes() + payload;
  std::vector<std::byte> out(fpdu_bytes(ulpdu));
  store_be16(out.data(), static_cast<uint16_t>(ulpdu));
  encode_segment(header, out.data() + kLengthBytes);
  std::byte* const body = out.data() + kLengthBytes + header.bytes();
  for (size_t i = 0; i < payload; ++i) body[i] = std::byte((i * 31 + seed) & 0xff);
  if (crc_on) {
    Crc32c crc;
    crc.update(out.data(), out.size() - kCrcBytes);
    store_le32(out.data() + out.size() - kCrcBytes, crc.value());
  }
  return out;
}

// Records all segments; offers `direct` memory for payload if configured.
struct Keeper final : SegmentHandler {
  struct Segment {
    SegmentHeader header;
    std::vector<std::byte> payload;
    size_t placed = 0;
    bool ended = false;
  };
  bool begin(const SegmentHeader& header, size_t payload) override {
    waiting = wait_before > 0 && ++begun % wait_before == 0;
    if (waiting) return false;
    segments.push_back({.header = header, .payload = std::vector<std::byte>(payload)});
    return true;
  }
  bool waits() const override { return waiting; }
  size_t landing(size_t offset, size_t bytes, std::span<iovec> out) override {
    if (!direct) return 0;
    ++direct_plans;
    // In two pieces, as a scatter list would be.
    std::byte* const at = segments.back().payload.data() + offset;
    out[0] = {at, (bytes + 1) / 2};
    out[1] = {at + (bytes + 1) / 2, bytes / 2};
    return bytes > 1 ? 2 : 1;
  }
  bool place(size_t offset, const std::byte* from, size_t bytes) override {
    EXPECT_LE(offset + bytes, segments.back().payload.size());
    std::memcpy(segments.back().payload.data() + offset, from, bytes);
    return true;
  }
  bool end() override {
    segments.back().ended = true;
    return ++ended != stop_after;
  }
  bool empty_fpdu() override {
    ++empties;
    return true;
  }
  void violation(const TerminateCode& code) override { violations.push_back(code); }

  std::vector<Segment> segments;
  std::vector<TerminateCode> violations;
  bool direct = false;
  int direct_plans = 0;
  int empties = 0;
  int ended = 0;
  int stop_after = -1;
  int wait_before = 0;  // every so many begin()s
  int begun = 0;
  bool waiting = false;
};

// Feeds `stream`, at most `chunk(i)` bytes in the i-th read. False when the receiver ended it.
template <typename Chunk>
bool feed(Receiver& receiver, std::span<const std::byte> stream, Chunk&& chunk,
          size_t scratch_bytes = 64 * 1024) {
  std::vector<std::byte> scratch(scratch_bytes);
  std::array<iovec, Receiver::kMaxPieces> pieces;
  for (int i = 0; !stream.empty(); ++i) {
    const std::span<const iovec> planned(pieces.data(), receiver.plan(scratch, pieces));
    size_t budget = std::min<size_t>(chunk(i), stream.size());
    size_t moved = 0;
    for (const iovec& piece : planned) {
      const size_t part = std::min(budget, piece.iov_len);
      std::memcpy(piece.iov_base, stream.data(), part);
      stream = stream.subspan(part);
      budget -= part;
      moved += part;
    }
    if (!receiver.commit(scratch, planned, moved)) return false;
    if (receiver.holds()) std::ranges::fill(scratch, std::byte{0xee});  // it is others' now
    while (receiver.holds()) {
      EXPECT_FALSE(receiver.at_boundary());
      if (!receiver.resume()) return false;
    }
  }
  return true;
}

constexpr SegmentHeader kSend{.kind = MessageKind::kSend, .last = true, .msn = 1};
constexpr SegmentHeader kWrite{.kind = MessageKind::kWrite, .tagged = true, .last = true};

std::vector<std::byte> concat(const std::vector<std::vector<std::byte>>& parts) {
  std::vector<std::byte> out;
  for (const auto& part : parts) out.insert(out.end(), part.begin(), part.end());
  return out;
}

void expect_intact(const Keeper& keeper, const std::vector<std::vector<std::byte>>& fpdus) {
  ASSERT_EQ(keeper.segments.size(), fpdus.size());
  EXPECT_TRUE(keeper.violations.empty());
  for (size_t i = 0; i < fpdus.size(); ++i) {
    const auto& segment = keeper.segments[i];
    EXPECT_TRUE(segment.ended);
    if (segment.payload.empty()) continue;
    EXPECT_EQ(
        std::memcmp(segment.payload.data(), fpdus[i].data() + kLengthBytes + segment.header.bytes(),
                    segment.payload.size()),
        0)
        << "segment " << i;
  }
}

TEST(Receiver, CutAtEveryByte) {
  for (const bool crc : {false, true}) {
    for (const bool direct : {false, true}) {
      const std::vector<std::vector<std::byte>> fpdus = {
          make_fpdu(kSend, 0, crc), make_fpdu(kSend, 71, crc), make_fpdu(kWrite, 3000, crc, 5),
          make_fpdu(kWrite, 1, crc), make_fpdu(kSend, 2049, crc)};
      const auto stream = concat(fpdus);
      for (size_t cut = 0; cut <= stream.size(); ++cut) {
        Keeper keeper;
        keeper.direct = direct;
        Receiver receiver(keeper);
        receiver.set_crc(crc);
        ASSERT_TRUE(
            feed(receiver, stream, [&](int i) { return i == 0 && cut > 0 ? cut : stream.size(); }));
        expect_intact(keeper, fpdus);
        EXPECT_TRUE(receiver.at_boundary());
        if (HasFailure()) FAIL() << "crc " << crc << " direct " << direct << " cut " << cut;
      }
    }
  }
}

TEST(Receiver, ByteByByteAndAtRandom) {
  const std::vector<std::vector<std::byte>> fpdus = {
      make_fpdu(kSend, 72, true), make_fpdu(kWrite, 65'000, true), make_fpdu(kSend, 16, true),
      make_fpdu(kWrite, 4096, true, 1), make_fpdu(kWrite, 40'000, true, 2)};
  const auto stream = concat(fpdus);
  for (uint64_t seed = 0; seed < 60; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937_64 draw(seed);
    Keeper keeper;
    keeper.direct = seed % 2 == 1;
    Receiver receiver(keeper);
    const size_t most = seed < 2 ? 1 : 1 + draw() % 20'000;
    ASSERT_TRUE(feed(receiver, stream, [&](int) { return 1 + draw() % most; }));
    expect_intact(keeper, fpdus);
    if (keeper.direct && most < 4000) {
      EXPECT_GT(keeper.direct_plans, 0);
    }
  }
}

TEST(Receiver, SegmentsThatWaitAreDeliveredWholeAndInOrder) {
  const std::vector<std::vector<std::byte>> fpdus = {
      make_fpdu(kSend, 72, true),   make_fpdu(kSend, 0, true),    make_fpdu(kWrite, 30'000, true),
      make_fpdu(kSend, 3000, true), make_fpdu(kSend, 16, true),   make_fpdu(kWrite, 4096, true, 1),
      make_fpdu(kSend, 2049, true), make_fpdu(kSend, 1000, true), make_fpdu(kSend, 1, true)};
  const auto stream = concat(fpdus);
  for (int seed = 0; seed < 60; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937_64 draw(static_cast<uint64_t>(seed));
    Keeper keeper;
    keeper.direct = seed % 2 == 1;
    keeper.wait_before = 2 + seed % 5;
    Receiver receiver(keeper);
    const size_t most = seed < 4 ? stream.size() : 1 + draw() % 20'000;
    ASSERT_TRUE(feed(receiver, stream, [&](int) { return 1 + draw() % most; }));
    expect_intact(keeper, fpdus);
    EXPECT_TRUE(receiver.at_boundary());
  }
}

TEST(Receiver, HeldMemoryIsReturned) {
  const auto stream = concat({make_fpdu(kSend, 72, true), make_fpdu(kSend, 72, true)});
  Keeper keeper;
  keeper.wait_before = 2;
  Receiver receiver(keeper);
  const size_t before = receiver.memory_bytes();
  std::vector<std::byte> scratch = stream;
  const iovec planned{scratch.data(), scratch.size()};
  ASSERT_TRUE(receiver.commit(scratch, {&planned, 1}, scratch.size()));
  EXPECT_TRUE(receiver.holds());
  EXPECT_EQ(receiver.memory_bytes(), before + stream.size() / 2);
  ASSERT_TRUE(receiver.resume());
  EXPECT_FALSE(receiver.holds());
  EXPECT_EQ(receiver.memory_bytes(), before);
}

TEST(Receiver, EverythingInOneReceiveIsHandledAtOnce) {
  std::vector<std::vector<std::byte>> fpdus(100, make_fpdu(kSend, 72, true));
  const auto stream = concat(fpdus);
  Keeper keeper;
  Receiver receiver(keeper);
  int reads = 0;
  ASSERT_TRUE(feed(receiver, stream, [&](int) {
    ++reads;
    return stream.size();
  }));
  EXPECT_EQ(reads, 1);
  EXPECT_EQ(keeper.segments.size(), 100u);
}

TEST(Receiver, APageThatCameInPartsDoesNotCutLaterPages) {
  const auto page = make_fpdu(kWrite, 4096, true);
  Keeper keeper;
  keeper.direct = true;
  Receiver receiver(keeper);
  ASSERT_TRUE(feed(receiver, page, [](int) { return 3000; }));
  const int before = keeper.direct_plans;
  const auto four = concat({page, page, page, page});
  int receives = 0;
  ASSERT_TRUE(feed(receiver, four, [&](int) {
    ++receives;
    return four.size();
  }));
  EXPECT_EQ(keeper.ended, 5);
  EXPECT_EQ(keeper.direct_plans, before);
  EXPECT_EQ(receives, 1);
}

TEST(Receiver, WhatFollowsAPageThatCameInPartsComesWithItsRest) {
  const auto page = make_fpdu(kWrite, 4096, true);
  const auto stream = concat({page, page, page, page});
  Keeper keeper;
  keeper.direct = true;
  Receiver receiver(keeper);
  int receives = 0;
  ASSERT_TRUE(feed(receiver, stream, [&](int i) {
    ++receives;
    return i == 0 ? 3000 : stream.size();
  }));
  EXPECT_EQ(keeper.ended, 4);
  EXPECT_EQ(receives, 2);
}

TEST(Receiver, EveryFlippedBitIsFound) {
  for (const size_t payload : {0, 5, 72, 4000}) {
    const auto good = make_fpdu(kWrite, payload, true);
    // A flip in the length field changes where the FPDU ends; what follows must not pass either.
    for (size_t bit = 16; bit<good.size() * 8; bit += payload> 100 ? 7 : 1) {
      auto bad = good;
      bad[bit / 8] ^= std::byte(1 << bit % 8);
      Keeper keeper;
      Receiver receiver(keeper);
      EXPECT_FALSE(feed(receiver, bad, [&](int i) { return i == 0 ? 30 : bad.size(); }))
          << payload << " bit " << bit;
      ASSERT_EQ(keeper.violations.size(), 1u);
      EXPECT_EQ(keeper.violations[0], term::kMpaCrc);
      EXPECT_EQ(keeper.ended, 0);
    }
  }
}

TEST(Receiver, WholeFpdusAreCheckedBeforeTheyArePlaced) {
  auto bad = make_fpdu(kWrite, 100, true);
  bad[50] ^= std::byte(1);
  Keeper keeper;
  Receiver receiver(keeper);
  EXPECT_FALSE(feed(receiver, bad, [&](int) { return bad.size(); }));
  EXPECT_TRUE(keeper.segments.empty());
}

TEST(Receiver, WithoutCrcTheFieldIsNotLookedAt) {
  auto fpdu = make_fpdu(kSend, 10, false);
  fpdu.back() = std::byte(0x77);
  Keeper keeper;
  Receiver receiver(keeper);
  receiver.set_crc(false);
  EXPECT_TRUE(feed(receiver, fpdu, [&](int) { return fpdu.size(); }));
  EXPECT_EQ(keeper.ended, 1);
}

TEST(Receiver, UlpduShorterThanItsHeader) {
  for (size_t ulpdu = 1; ulpdu < kUntaggedHeaderBytes; ++ulpdu) {
    std::vector<std::byte> fpdu(fpdu_bytes(ulpdu), std::byte(0));
    store_be16(fpdu.data(), static_cast<uint16_t>(ulpdu));
    fpdu[2] = std::byte(0x41);  // untagged
    Keeper keeper;
    Receiver receiver(keeper);
    receiver.set_crc(false);
    EXPECT_FALSE(feed(receiver, fpdu, [&](int) { return fpdu.size(); }));
    ASSERT_EQ(keeper.violations.size(), 1u);
    EXPECT_EQ(keeper.violations[0], term::kMpaLength);
  }
}

TEST(Receiver, EmptyFpdu) {
  std::vector<std::byte> fpdu(fpdu_bytes(0), std::byte(0));
  Crc32c crc;
  crc.update(fpdu.data(), fpdu.size() - kCrcBytes);
  store_le32(fpdu.data() + fpdu.size() - kCrcBytes, crc.value());
  for (size_t chunk = 1; chunk <= fpdu.size(); ++chunk) {
    Keeper keeper;
    Receiver receiver(keeper);
    EXPECT_TRUE(feed(receiver, fpdu, [&](int) { return chunk; }));
    EXPECT_EQ(keeper.empties, 1);
  }
}

TEST(Receiver, StopsWhereTheHandlerStops) {
  const auto stream = concat({make_fpdu(kSend, 10, true), make_fpdu(kSend, 10, true)});
  Keeper keeper;
  keeper.stop_after = 1;
  Receiver receiver(keeper);
  EXPECT_FALSE(feed(receiver, stream, [&](int) { return stream.size(); }));
  EXPECT_EQ(keeper.segments.size(), 1u);
}

TEST(Receiver, KnowsWhetherAnFpduIsCut) {
  const auto small = make_fpdu(kSend, 10, true);
  const auto large = make_fpdu(kWrite, 5000, true);
  for (const auto& fpdu : {small, large}) {
    for (size_t cut = 1; cut < fpdu.size(); cut += 1 + cut / 10) {
      Keeper keeper;
      Receiver receiver(keeper);
      ASSERT_TRUE(feed(receiver, std::span(fpdu).first(cut), [&](int) { return cut; }));
      EXPECT_FALSE(receiver.at_boundary()) << cut;
    }
  }
}

// Scratch that the next plan offers.
size_t offered(Receiver& receiver) {
  std::vector<std::byte> scratch(64 * 1024);
  std::array<iovec, Receiver::kMaxPieces> pieces;
  const size_t count = receiver.plan(scratch, pieces);
  const size_t bytes = pieces[0].iov_len;
  EXPECT_TRUE(receiver.commit(scratch, std::span(pieces).first(count), 0));
  return bytes;
}

// WRITEs without payload cost their sender nothing. A round takes few of them, once the first flood
// has shown what comes.
TEST(Receiver, AFloodOfEmptyFpdusGetsItsShareOfARoundOnly) {
  Keeper keeper;
  Receiver receiver(keeper);
  const auto fpdu = make_fpdu(kWrite, 0, true);
  std::vector<std::vector<std::byte>> flood(1000, fpdu);
  receiver.start_round();
  EXPECT_FALSE(receiver.tired());
  ASSERT_TRUE(feed(receiver, concat(flood), [](int) { return SIZE_MAX; }));
  EXPECT_TRUE(receiver.tired());
  EXPECT_TRUE(receiver.flooded());
  EXPECT_EQ(keeper.ended, 1000);
  receiver.start_round();
  EXPECT_FALSE(receiver.tired());
  EXPECT_FALSE(receiver.flooded());
  EXPECT_LE(offered(receiver), 512u);
  // All of it comes through, in as many rounds as it takes.
  ASSERT_TRUE(feed(receiver, concat(flood), [](int) { return SIZE_MAX; }));
  EXPECT_EQ(keeper.ended, 2000);
  expect_intact(keeper, std::vector<std::vector<std::byte>>(2000, fpdu));
  // Ordinary traffic is offered all of the scratch again.
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(feed(receiver, make_fpdu(kSend, 64, true), [](int) { return SIZE_MAX; }));
  }
  EXPECT_EQ(offered(receiver), 64u * 1024);
}

TEST(Receiver, ManySmallMessagesAtOnceAreNotAFlood) {
  Keeper keeper;
  Receiver receiver(keeper);
  const std::vector<std::vector<std::byte>> queue(Receiver::kWorkPerRound - 1,
                                                  make_fpdu(kSend, 64, true));
  ASSERT_TRUE(feed(receiver, concat(queue), [](int) { return SIZE_MAX; }));
  EXPECT_FALSE(receiver.tired());
  EXPECT_EQ(offered(receiver), 64u * 1024);
}

// Each takes one of our receives, so there cannot be more of them than we posted.
TEST(Receiver, SendsWithoutPayloadAreNotAFlood) {
  Keeper keeper;
  Receiver receiver(keeper);
  const std::vector<std::vector<std::byte>> sends(100, make_fpdu(kSend, 0, true));
  ASSERT_TRUE(feed(receiver, concat(sends), [](int) { return SIZE_MAX; }));
  EXPECT_TRUE(receiver.tired());
  EXPECT_FALSE(receiver.flooded());
}

}  // namespace
}  // namespace mrpool::uiwarp
