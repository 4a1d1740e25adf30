#include "mrpool/integrity.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>
#include <string_view>
#include <vector>

#include "tests/conformance/t10dif_reference.h"

namespace mrpool {
namespace {

using Bytes = std::vector<std::byte>;

Bytes bytes_of(std::string_view text) {
  const auto all = std::as_bytes(std::span(text.data(), text.size()));
  return {all.begin(), all.end()};
}

Bytes random_bytes(size_t size, uint32_t seed) {
  std::mt19937 random(seed);
  Bytes bytes(size);
  for (std::byte& each : bytes) each = std::byte(random());
  return bytes;
}

// Cuts `memory` into segments of 1 to `most` bytes.
std::vector<Sge> cut(Bytes& memory, uint32_t most, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<Sge> list;
  for (size_t at = 0; at < memory.size();) {
    const auto length = uint32_t(std::min<size_t>(1 + random() % most, memory.size() - at));
    list.push_back({memory.data() + at, length, {}});
    at += length;
  }
  return list;
}

// The check value of the catalogue of CRCs (CRC-16/T10-DIF), and the test cases of SBC-4.
TEST(T10Dif, GuardHasTheValuesOfTheStandard) {
  EXPECT_EQ(t10dif_guard(bytes_of("123456789")), 0xd0db);
  Bytes block(32, std::byte(0));
  EXPECT_EQ(t10dif_guard(block), 0x0000);
  std::ranges::fill(block, std::byte(0xff));
  EXPECT_EQ(t10dif_guard(block), 0xa293);
  for (size_t i = 0; i < 32; ++i) block[i] = std::byte(i);
  EXPECT_EQ(t10dif_guard(block), 0x0224);
  for (size_t i = 0; i < 32; ++i) block[i] = std::byte(i < 2 ? 0xff : 0);
  EXPECT_EQ(t10dif_guard(block), 0x21b8);
  for (size_t i = 0; i < 32; ++i) block[i] = std::byte(0xff - i);
  EXPECT_EQ(t10dif_guard(block), 0xa0b7);
}

TEST(T10Dif, GuardIsTheReferencesForEveryLengthSeedAndCut) {
  for (uint32_t length : {0u, 1u, 7u, 8u, 15u, 16u, 31u, 255u, 512u, 513u, 520u, 4096u, 4104u}) {
    const Bytes data = random_bytes(length, length);
    for (const uint16_t seed : {0x0000, 0xffff, 0x1234}) {
      const uint16_t expected = reference::crc(data, seed);
      EXPECT_EQ(t10dif_guard(data, seed), expected) << length;
      const size_t half = length / 3;
      const auto first = std::span(data).first(half);
      EXPECT_EQ(t10dif_guard(std::span(data).subspan(half), t10dif_guard(first, seed)), expected);
    }
  }
}

TEST(T10Dif, TupleIsBigEndian) {
  std::array<std::byte, kTupleBytes> bytes;
  encode_tuple({0x0123, 0x4567, 0x89abcdef}, bytes);
  EXPECT_TRUE(std::ranges::equal(bytes, reference::tuple(0x0123, 0x4567, 0x89abcdef)));
  EXPECT_EQ(decode_tuple(bytes), (ProtectionTuple{0x0123, 0x4567, 0x89abcdef}));
}

class Lists : public ::testing::Test {
 protected:
  static constexpr uint32_t kBlock = 512;
  static constexpr uint32_t kBlocks = 9;

  void set_tuples(const IntegrityDomain& domain) {
    tuples = reference::tuples(domain, kBlock, data);
  }
  std::optional<IntegrityError> verify(const IntegrityDomain& domain,
                                       const IntegrityChecks& checks = {}) {
    return verify_protection(domain, checks, kBlock, cut(data, 700, 3), cut(tuples, 11, 4));
  }
  void put(uint32_t block, const ProtectionTuple& tuple) {
    encode_tuple(tuple, std::span(tuples).subspan(block * kTupleBytes).first<kTupleBytes>());
  }
  ProtectionTuple get(uint32_t block) const {
    return decode_tuple(std::span(tuples).subspan(block * kTupleBytes).first<kTupleBytes>());
  }

  Bytes data = random_bytes(kBlock * kBlocks, 1);
  Bytes tuples = Bytes(kTupleBytes * kBlocks);
  const IntegrityDomain domain{
      .protection = true, .guard_seed = 0xffff, .app_tag = 0xbeef, .ref_tag = 0xfffffffd};
};

TEST_F(Lists, GeneratedTuplesAreTheReferencesHoweverTheListsAreCut) {
  for (const bool increments : {true, false}) {
    IntegrityDomain one = domain;
    one.ref_tag_increments = increments;
    const Bytes expected = reference::tuples(one, kBlock, data);
    for (const uint32_t most : {1u, 3u, 8u, 100u, 512u, 513u, 5000u}) {
      std::ranges::fill(tuples, std::byte(0));
      generate_protection(one, kBlock, cut(data, most, most), cut(tuples, most, most + 1));
      EXPECT_EQ(tuples, expected) << most;
    }
    EXPECT_EQ(verify(one), std::nullopt);
  }
}

TEST_F(Lists, TheFirstFaultOfTheFirstBlockIsReported) {
  set_tuples(domain);
  const ProtectionTuple good = get(4);
  put(4, {uint16_t(good.guard ^ 1), 1, 2});
  put(5, {0, 0, 0});
  EXPECT_EQ(verify(domain),
            (IntegrityError{IntegrityField::kGuard, 4, good.guard, good.guard ^ 1u}));
  EXPECT_EQ(verify(domain, {.guard = false}),
            (IntegrityError{IntegrityField::kAppTag, 4, 0xbeef, 1}));
  EXPECT_EQ(verify(domain, {.guard = false, .app_tag = false}),
            (IntegrityError{IntegrityField::kRefTag, 4, 1, 2}));
  EXPECT_EQ(verify(domain, {.guard = false, .app_tag = false, .ref_tag = false}), std::nullopt);
}

TEST_F(Lists, EveryBitOfABlockIsGuarded) {
  set_tuples(domain);
  for (uint32_t bit = 0; bit < kBlock * 8; bit += 61) {
    std::byte& hit = data[2 * kBlock + bit / 8];
    hit ^= std::byte(1u << bit % 8);
    const auto error = verify(domain);
    ASSERT_TRUE(error);
    EXPECT_EQ(error->field, IntegrityField::kGuard);
    EXPECT_EQ(error->block, 2u);
    hit ^= std::byte(1u << bit % 8);
  }
  EXPECT_EQ(verify(domain), std::nullopt);
}

TEST_F(Lists, OnlyTheMaskedBitsOfTheAppTagAreChecked) {
  set_tuples(domain);
  ProtectionTuple tuple = get(3);
  tuple.app_tag ^= 0x00ff;
  put(3, tuple);
  IntegrityDomain masked = domain;
  masked.app_tag_mask = 0xff00;
  EXPECT_EQ(verify(masked), std::nullopt);
  masked.app_tag_mask = 0xff01;
  EXPECT_EQ(verify(masked)->field, IntegrityField::kAppTag);
}

TEST_F(Lists, EscapedBlocksAreNotChecked) {
  using enum IntegrityEscape;
  const auto error = [&](IntegrityEscape escape, const ProtectionTuple& tuple) {
    set_tuples(domain);
    put(6, tuple);
    IntegrityDomain one = domain;
    one.escape = escape;
    return verify(one).has_value();
  };
  EXPECT_TRUE(error(kNone, {0, 0xffff, 0xffffffff}));
  EXPECT_FALSE(error(kAppTag, {0, 0xffff, 0}));
  EXPECT_TRUE(error(kAppTag, {0, 0xfffe, 0xffffffff}));
  EXPECT_TRUE(error(kAppAndRefTag, {0, 0xffff, 0}));
  EXPECT_TRUE(error(kAppAndRefTag, {0, 0, 0xffffffff}));
  EXPECT_FALSE(error(kAppAndRefTag, {0, 0xffff, 0xffffffff}));
}

class Conversions : public Lists {
 protected:
  std::optional<IntegrityError> pass(const IntegrityDomain& from, const IntegrityDomain& to) {
    IntegrityAttributes attributes{.block_size = kBlock, .memory = from, .wire = to};
    const std::vector<Sge> lists[] = {cut(data, 900, 7), cut(tuples, 9, 8), cut(out, 5, 9)};
    const auto one =
        convert_protection(attributes, IntegrityFlow::kToWire, lists[0], lists[1], lists[2]);
    const Bytes there = out;
    std::swap(attributes.memory, attributes.wire);
    const auto other =
        convert_protection(attributes, IntegrityFlow::kFromWire, lists[0], lists[1], lists[2]);
    EXPECT_EQ(one, other);
    EXPECT_EQ(there, out);
    return one;
  }
  ProtectionTuple passed(uint32_t block) const {
    return decode_tuple(std::span(out).subspan(block * kTupleBytes).first<kTupleBytes>());
  }
  Bytes out = Bytes(kTupleBytes * kBlocks);
};

TEST_F(Conversions, LikeFieldsArePassedOnAsTheyCame) {
  set_tuples(domain);
  put(7, {1, 2, 3});
  EXPECT_TRUE(pass(domain, domain));
  EXPECT_EQ(out, tuples);
}

TEST_F(Conversions, DifferentFieldsAreGenerated) {
  set_tuples(domain);
  put(7, {1, 2, 3});
  const IntegrityDomain to{.protection = true, .app_tag = 0xabcd, .ref_tag = 100};
  EXPECT_TRUE(pass(domain, to));
  EXPECT_EQ(out, reference::tuples(to, kBlock, data));

  IntegrityDomain elsewhere = domain;
  elsewhere.ref_tag = 100;
  EXPECT_TRUE(pass(domain, elsewhere));
  EXPECT_EQ(passed(7), (ProtectionTuple{1, 2, 107}));  // a wrong guard stays wrong

  IntegrityDomain constant = domain;
  constant.ref_tag_increments = false;
  EXPECT_TRUE(pass(domain, constant));
  EXPECT_EQ(passed(7).ref_tag, domain.ref_tag);
}

TEST_F(Conversions, EscapedTuplesArePassedOnUnchanged) {
  set_tuples(domain);
  put(0, {7, 0xffff, 9});
  IntegrityDomain from = domain;
  from.escape = IntegrityEscape::kAppTag;
  EXPECT_EQ(pass(from, {.protection = true, .ref_tag = 100}), std::nullopt);
  EXPECT_EQ(passed(0), (ProtectionTuple{7, 0xffff, 9}));
  EXPECT_EQ(passed(1).ref_tag, 101u);
}

TEST_F(Conversions, InsertChecksNothingAndStripWritesNothing) {
  EXPECT_EQ(pass({}, domain), std::nullopt);
  EXPECT_EQ(out, reference::tuples(domain, kBlock, data));
  set_tuples(domain);
  put(8, {});
  std::ranges::fill(out, std::byte(0x5a));
  EXPECT_EQ(pass(domain, {})->block, 8u);
  EXPECT_EQ(out, Bytes(out.size(), std::byte(0x5a)));
}

TEST_F(Lists, AreCheckedBeforeTheyAreMapped) {
  const IntegrityCapacity capacity{.blocks = kBlocks, .protection_segments = 2};
  IntegrityAttributes attributes{.memory = domain};
  const auto check = [&](std::vector<Sge> a, std::vector<Sge> b) {
    return check_protected_lists(capacity, 2, a, b, attributes);
  };
  const Sge all{data.data(), uint32_t(data.size()), {}};
  const Sge its{tuples.data(), uint32_t(tuples.size()), {}};
  const Sge none{data.data(), 0, {}};
  EXPECT_EQ(check({all}, {its}), PostStatus::kOk);
  EXPECT_EQ(check({all}, {}), PostStatus::kBadIntegrity);
  EXPECT_EQ(check({}, {}), PostStatus::kBadIntegrity);
  EXPECT_EQ(check({all, all}, {its, its}), PostStatus::kTooLong);
  EXPECT_EQ(check({all, all, all}, {its}), PostStatus::kTooManySges);
  EXPECT_EQ(check({all}, {its, its, its}), PostStatus::kTooManySges);
  EXPECT_EQ(check({all, none}, {its}), PostStatus::kBadSge);
  EXPECT_EQ(check({all}, {its, none}), PostStatus::kBadSge);
  EXPECT_EQ(check({{data.data(), kBlock + 8, {}}}, {its}), PostStatus::kBadIntegrity);
  for (const uint32_t wrong : {0u, 256u, 516u, 65544u}) {
    attributes.block_size = wrong;
    EXPECT_EQ(check({all}, {its}), PostStatus::kBadIntegrity) << wrong;
  }
  attributes = {.wire = domain};
  EXPECT_EQ(check({all}, {}), PostStatus::kOk);
  EXPECT_EQ(check({all}, {its}), PostStatus::kBadIntegrity);
  attributes = {};
  EXPECT_EQ(check({all}, {}), PostStatus::kBadIntegrity);
}

TEST(IntegrityError, ReportsWhatIsWrong) {
  EXPECT_EQ(to_string(IntegrityError{IntegrityField::kGuard, 3, 0xd0db, 0x12}),
            "block 3: guard 0x0012, expected 0xd0db");
  EXPECT_EQ(to_string(IntegrityError{IntegrityField::kRefTag, 0, 1, 2}),
            "block 0: reference tag 0x00000002, expected 0x00000001");
  EXPECT_EQ(to_string(IntegrityField::kAppTag), "application tag");
}

}  // namespace
}  // namespace mrpool
