#include "examples/protocol/nvme/auth/secret.h"

#include <openssl/crypto.h>

#include <array>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "examples/protocol/nvme/auth/crypto.h"

namespace mrpool::nvme::auth {
namespace {

constexpr std::string_view kPrefix = "DHHC-1:";
constexpr size_t kCrcBytes = 4;
constexpr std::string_view kExample = "`nvme gen-dhchap-key` makes one";

absl::Status bad(std::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat("is not a DH-HMAC-CHAP secret: ", std::string(why),
                                                 "; ", std::string(kExample)));
}

std::optional<uint8_t> digit(char c) {
  if (c >= 'A' && c <= 'Z') return uint8_t(c - 'A');
  if (c >= 'a' && c <= 'z') return uint8_t(c - 'a' + 26);
  if (c >= '0' && c <= '9') return uint8_t(c - '0' + 52);
  if (c == '+') return uint8_t{62};
  if (c == '/') return uint8_t{63};
  return std::nullopt;
}

// RFC 4648 section 4, with padding; nothing for anything else.
std::optional<Wiped> from_base64(std::string_view text) {
  if (text.empty() || text.size() % 4 != 0) return std::nullopt;
  size_t padding = 0;
  while (padding < 2 && text.ends_with('=')) {
    text.remove_suffix(1);
    ++padding;
  }
  Wiped out((text.size() + padding) / 4 * 3 - padding);
  uint32_t bits = 0;
  int have = 0;
  size_t at = 0;
  for (const char c : text) {
    const std::optional<uint8_t> six = digit(c);
    if (!six) return std::nullopt;
    bits = bits << 6 | *six;
    have += 6;
    if (have < 8) continue;
    have -= 8;
    out.bytes()[at++] = uint8_t(bits >> have);
  }
  return out;
}

// IEEE 802.3, as zlib's.
uint32_t crc32(std::span<const uint8_t> bytes) {
  uint32_t crc = 0xffffffff;
  for (const uint8_t byte : bytes) {
    crc ^= byte;
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (0xedb88320 & (0 - (crc & 1)));
  }
  return ~crc;
}

bool known_length(size_t bytes) { return bytes == 32 || bytes == 48 || bytes == 64; }

}  // namespace

Wiped::~Wiped() {
  if (!bytes_.empty()) OPENSSL_cleanse(bytes_.data(), bytes_.size());
}

void wipe(std::string& text) {
  OPENSSL_cleanse(text.data(), text.size());
  text.clear();
}

bool DhchapKey::operator==(const DhchapKey& other) const {
  return transform == other.transform && key.size() == other.key.size() &&
         (key.empty() || equal_in_constant_time(key.bytes(), other.key.bytes()));
}

bool looks_like_key(std::string_view text) { return text.starts_with("DHHC-"); }

absl::StatusOr<DhchapKey> parse_key(std::string_view text) {
  if (!text.starts_with(kPrefix)) return bad("it does not begin with DHHC-1:");
  text.remove_prefix(kPrefix.size());
  if (text.size() < 4 || text[0] != '0' || text[1] < '0' || text[1] > '3' || text[2] != ':') {
    return bad("00, 01, 02 or 03 and a colon must follow DHHC-1:");
  }
  DhchapKey key;
  key.transform = uint8_t(text[1] - '0');
  text.remove_prefix(3);
  if (!text.ends_with(':')) return bad("it does not end with a colon");
  text.remove_suffix(1);
  const std::optional<Wiped> decoded = from_base64(text);
  if (!decoded) return bad("its third part is not base64");
  const size_t bytes = decoded->size();
  if (bytes < kCrcBytes || !known_length(bytes - kCrcBytes)) {
    return bad(absl::StrCat("it has ", bytes < kCrcBytes ? 0 : bytes - kCrcBytes,
                            " bytes, not 32, 48 or 64"));
  }
  const std::span<const uint8_t> front = decoded->bytes().first(bytes - kCrcBytes);
  const std::span<const uint8_t> back = decoded->bytes().last(kCrcBytes);
  const uint32_t wanted = crc32(front);
  for (size_t i = 0; i < kCrcBytes; ++i) {
    if (back[i] != uint8_t(wanted >> (8 * i))) {
      return bad("its CRC-32 is wrong, so a character is missing or another one");
    }
  }
  key.key = Wiped(std::vector<uint8_t>(front.begin(), front.end()));
  return key;
}

Wiped transformed(const DhchapKey& key, std::string_view nqn) {
  if (key.transform == 0) return key.key;
  constexpr std::string_view kUse = "NVMe-over-Fabrics";
  const std::string text = absl::StrCat(std::string(nqn), std::string(kUse));
  const auto* const bytes = reinterpret_cast<const uint8_t*>(text.data());
  return hmac(Hash(key.transform), key.key.bytes(), {bytes, text.size()});
}

}  // namespace mrpool::nvme::auth
