#include "examples/protocol/nvme/auth/crypto.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>
#include <set>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace mrpool::nvme::auth {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr char kHost[] = "nqn.2026-11.org.example:host";
constexpr char kDisk[] = "nqn.2026-11.org.example:disk";
// Of the bytes 0, 1, 2 and so on: what nvme-cli prints for them.
constexpr char kKey32[] = "DHHC-1:00:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh+KfiaR:";
constexpr char kKey48[] =
    "DHHC-1:02:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vcSEgBQ==:";
constexpr char kKey64[] =
    "DHHC-1:03:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7"
    "PD0+P4zODhA=:";

std::string hex(std::span<const uint8_t> bytes) {
  return absl::BytesToHexString(
      absl::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

std::vector<uint8_t> counting(size_t count, uint8_t from) {
  std::vector<uint8_t> bytes(count);
  std::iota(bytes.begin(), bytes.end(), from);
  return bytes;
}

DhchapKey key(std::string_view text) {
  auto parsed = parse_key(text);
  EXPECT_TRUE(parsed.ok()) << parsed.status();
  return parsed.ok() ? *parsed : DhchapKey();
}

std::string with_transform(int number) {
  return absl::StrReplaceAll(kKey32, {{":00:", absl::StrCat(":0", number, ":")}});
}

std::string refusal(std::string_view text) {
  return std::string(parse_key(text).status().message());
}

TEST(DhchapKey, HasTheBytesOfItsText) {
  EXPECT_EQ(hex(key(kKey32).key.bytes()), hex(counting(32, 0)));
  EXPECT_EQ(hex(key(kKey48).key.bytes()), hex(counting(48, 0)));
  EXPECT_EQ(hex(key(kKey64).key.bytes()), hex(counting(64, 0)));
  EXPECT_EQ(key(kKey48).transform, 2);
}

// By Python: hmac.new(key, (nqn + "NVMe-over-Fabrics").encode(), "sha256").hexdigest()
TEST(DhchapKey, IsTransformedForItsOwner) {
  EXPECT_EQ(hex(transformed(key(kKey32), kHost).bytes()), hex(counting(32, 0)));
  EXPECT_EQ(hex(transformed(key(with_transform(1)), kHost).bytes()),
            "30978d256f4a5970561514d10642e2b5415fca8a3b14efd8464dafebdd06e45c");
  EXPECT_EQ(hex(transformed(key(kKey48), kHost).bytes()),
            "3ff0439a8b2ea2f01e6c7459afddef3a15192202e8e893ebb6210e78cbd15570c8330a8a95060e39dcdf69"
            "903dd300b8");
  EXPECT_EQ(hex(transformed(key(kKey64), kHost).bytes()),
            "981f8c96bf6e75383c3a72be916bd81af4da92893515b2314c603021f337ee292b945da158b825ce697389"
            "d23881e43e8c4639d15c603b93e66d8ee295fd94ca");
}

TEST(DhchapKey, AWrongOneIsRefusedWithItsFaultAndNotShown) {
  EXPECT_THAT(refusal("secret"), HasSubstr("does not begin with DHHC-1:"));
  EXPECT_THAT(refusal("DHHC-1:04:AAAA:"), HasSubstr("00, 01, 02 or 03"));
  EXPECT_THAT(refusal("DHHC-1:00"), HasSubstr("00, 01, 02 or 03"));
  EXPECT_THAT(refusal("DHHC-1:00:"), HasSubstr("colon"));
  EXPECT_THAT(refusal("DHHC-1:00:AAAA"), HasSubstr("end with a colon"));
  EXPECT_THAT(refusal("DHHC-1:00:AA*A:"), HasSubstr("not base64"));
  EXPECT_THAT(refusal("DHHC-1:00:AAAAA:"), HasSubstr("not base64"));
  EXPECT_THAT(refusal("DHHC-1:00:AAAA:"), HasSubstr("0 bytes, not 32, 48 or 64"));
  const std::string damaged = absl::StrReplaceAll(kKey32, {{"AAEC", "AAED"}});
  EXPECT_THAT(refusal(damaged), HasSubstr("CRC-32 is wrong"));
  EXPECT_THAT(refusal(damaged), HasSubstr("nvme gen-dhchap-key"));
  EXPECT_THAT(refusal(damaged), Not(HasSubstr("AAED")));
}

// By Python (hashlib, hmac), from the formulas of the specification, with 256 bytes 7 as the secret
// of Diffie and Hellman.
TEST(Response, IsTheOneOfTheFormula) {
  struct Row {
    Hash hash;
    bool shared;
    const char* host;
    const char* controller;
  };
  constexpr Row kRows[] = {
      {Hash::kSha256, false, "49f300c1aea56b637a05fb9e7fd5c205e82cfb3378fc6abaf9360b2f1519b961",
       "1793d4652eed4a2c51a2b4f3e6509d992b708a5dc270263dc5693d9616533bd3"},
      {Hash::kSha256, true, "924ecefc494e22abf2917b44c4b80a34c06e42ecd545afcdea02a23e6aad8e63",
       "c3a6c9a2f7735d5b824527ebcebe8af2a7cd34b2ba0076f634485e2c3def20ee"},
      {Hash::kSha384, false,
       "7606df619d3346908f958ca5546d5ab9f4200cd196d2c08f4cb8f787b5168633975ca764249b313cebf05dce470"
       "2776e",
       "9c631c5b812a0309c3d091741c40fb5d3adb08a513800c857d60e3e47419778d9b1967b70b1b7165a5308d981c9"
       "8a3b7"},
      {Hash::kSha384, true,
       "d79cd8ca6643bd948abeb751038be347718f1bb071e53b72388ac56c3b8a460ad72aa7def5aa892ef6fa3eb20de"
       "f9cb4",
       "9d01eec4618debdc2f8e5ba29f63011196710f25baab818bd2dccb80d338b7a9c573d3f90ce4738e7b85422912f"
       "2ceda"},
      {Hash::kSha512, false,
       "72ce4af279311e5c88b5475847edd3d3f2219b635843224fbfe2b7c8d6533860aa04f9b525fd8ce8f9fa533b1eb"
       "3344222d2b203fbd8890a3ee9341395f0dc9b",
       "02e19bbae83d867b2ea839cdb92b9f11b3c96af5b22e8c546287b787ffc0c9b9c6ae6eaee0c2bd1143063f6751d"
       "3133ab045abdcea457a1fc87c715f25613f61"},
      {Hash::kSha512, true,
       "52e030ec1e332276aae79a39e50312c5f85d623e0889fcad8ba324a820c1921f1df3af6e094f2894361fcce2864"
       "692dad47b2a476ed3e35a21d110873bddf4f8",
       "67855981f380e41c04ce9fc66e30e3f2af6db2d6fa91b443d55d0ab9a8ded23b08f60a447e3fd5678b45b772529"
       "e8190db03b9a05687f78e4e9b685bafd1ce92"},
  };
  const Wiped shared(std::vector<uint8_t>(256, 7));
  for (const Row& row : kRows) {
    const std::vector<uint8_t> challenge = counting(hash_bytes(row.hash), 100);
    const ResponseInput input{.hash = row.hash,
                              .challenge = challenge,
                              .shared = row.shared ? &shared : nullptr,
                              .sequence = 0x01020304,
                              .transaction = 0x1234,
                              .secure_channel = 0,
                              .host_nqn = kHost,
                              .subsystem_nqn = kDisk};
    EXPECT_EQ(hex(host_response(transformed(key(with_transform(1)), kHost), input).bytes()),
              row.host);
    EXPECT_EQ(hex(controller_response(transformed(key(kKey32), kDisk), input).bytes()),
              row.controller);
  }
}

TEST(DhHalf, BothHalvesShareOneSecret) {
  for (const Group group : kGroups) {
    if (group == Group::kNull) continue;
    const auto a = DhHalf::make(group), b = DhHalf::make(group);
    ASSERT_TRUE(a != nullptr && b != nullptr) << to_string(group);
    EXPECT_EQ(a->public_value().size(), group_bytes(group));
    EXPECT_NE(hex(a->public_value()), hex(b->public_value()));
    const auto one = a->shared(b->public_value()), other = b->shared(a->public_value());
    ASSERT_TRUE(one && other);
    EXPECT_EQ(one->size(), group_bytes(group));
    EXPECT_EQ(hex(one->bytes()), hex(other->bytes()));
  }
}

// The generator is 2, so its power by the private value is the public value.
TEST(DhHalf, TheGeneratorIsRaisedToThePrivateValue) {
  const auto half = DhHalf::make(Group::kFfdhe2048);
  std::vector<uint8_t> two(256);
  two.back() = 2;
  const auto shared = half->shared(two);
  ASSERT_TRUE(shared);
  EXPECT_EQ(hex(shared->bytes()), hex(half->public_value()));
}

TEST(DhHalf, TrivialPublicValuesAreRefused) {
  const auto half = DhHalf::make(Group::kFfdhe2048);
  std::vector<uint8_t> value(256);
  EXPECT_FALSE(half->shared(value));  // 0
  value.back() = 1;
  EXPECT_FALSE(half->shared(value));
  // p ends in 64 bits of ones (RFC 7919 appendix A.1), and nothing is as large as 2^2048 - 1.
  EXPECT_FALSE(half->shared(std::vector<uint8_t>(256, 0xff)));
  EXPECT_FALSE(half->shared(std::vector<uint8_t>(255, 2)));
  EXPECT_FALSE(half->shared({}));
  EXPECT_EQ(DhHalf::make(Group::kNull), nullptr);
  EXPECT_EQ(DhHalf::make(Group(99)), nullptr);
}

// RFC 7919 appendix A.1, from the formula: p = 2^2048 - 2^1984 + (floor(2^1918 e) + 560316) 2^64
// - 1.
TEST(DhHalf, MinusOneIsRefused) {
  const auto half = DhHalf::make(Group::kFfdhe2048);
  const std::string p = absl::HexStringToBytes(
      "FFFFFFFFFFFFFFFFADF85458A2BB4A9AAFDC5620273D3CF1D8B9C583CE2D3695A9E13641146433FBCC939DCE249B"
      "3EF97D2FE363630C75D8F681B202AEC4617AD3DF1ED5D5FD65612433F51F5F066ED0856365553DED1AF3B557135E"
      "7F57C935984F0C70E0E68B77E2A689DAF3EFE8721DF158A136ADE73530ACCA4F483A797ABC0AB182B324FB61D108"
      "A94BB2C8E3FBB96ADAB760D7F4681D4F42A3DE394DF4AE56EDE76372BB190B07A7C8EE0A6D709E02FCE1CDF7E2EC"
      "C03404CD28342F619172FE9CE98583FF8E4F1232EEF28183C3FE3B1B4C6FAD733BB5FCBC2EC22005C58EF1837D16"
      "83B2C6F34A26C1B2EFFA886B423861285C97FFFFFFFFFFFFFFFF");
  std::vector<uint8_t> value(p.begin(), p.end());
  ASSERT_EQ(value.size(), 256u);
  EXPECT_FALSE(half->shared(value));  // p itself
  value.back() = 0xfe;
  EXPECT_FALSE(half->shared(value));  // p - 1
  value.back() = 0xfd;
  EXPECT_TRUE(half->shared(value));
}

TEST(SequenceNumber, IsNeverGivenTwiceAndNeverZero) {
  std::set<uint32_t> seen;
  for (int i = 0; i < 1000; ++i) seen.insert(next_sequence_number());
  EXPECT_EQ(seen.size(), 1000u);
  EXPECT_FALSE(seen.contains(0));
}

TEST(Names, AreThoseOfConfigurations) {
  for (const Hash hash : kHashes) EXPECT_EQ(parse_hash(to_string(hash)), hash);
  for (const Group group : kGroups) EXPECT_EQ(parse_group(to_string(group)), group);
  EXPECT_EQ(parse_hash("md5"), std::nullopt);
  EXPECT_EQ(parse_group("ffdhe1024"), std::nullopt);
  EXPECT_EQ(to_string(Hash(9)), "");
  EXPECT_EQ(to_string(Group(9)), "");
}

}  // namespace
}  // namespace mrpool::nvme::auth
