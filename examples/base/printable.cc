#include "examples/base/printable.h"

#include <cstddef>
#include <cstdint>
#include <cstdio>

namespace mrpool::base {
namespace {

struct Character {
  uint32_t code = 0;
  size_t bytes = 0;  // 0: no well-formed UTF-8 starts there
};

// The character at the start of `text`, which is not empty (RFC 3629).
Character first_of(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  const size_t bytes = lead >> 5 == 0b110     ? 2
                       : lead >> 4 == 0b1110  ? 3
                       : lead >> 3 == 0b11110 ? 4
                                              : 0;
  if (bytes == 0 || text.size() < bytes) return {};
  uint32_t code = lead & (0xffu >> (bytes + 1));
  for (size_t i = 1; i < bytes; ++i) {
    if (byte(i) >> 6 != 0b10) return {};
    code = code << 6 | (byte(i) & 0x3f);
  }
  constexpr uint32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = code >= 0xd800 && code <= 0xdfff;
  if (code < kLeast[bytes] || surrogate || code > 0x10ffff) return {};
  return {code, bytes};
}

bool harmless(uint32_t code) {
  const auto in = [code](uint32_t first, uint32_t last) { return code >= first && code <= last; };
  return !(code < 0x20 || in(0x7f, 0x9f) || in(0x200b, 0x200f) || in(0x2028, 0x202e) ||
           in(0x2060, 0x2069) || code == 0xfeff);
}

}  // namespace

std::string printable(std::string_view text) {
  std::string safe;
  safe.reserve(text.size());
  while (!text.empty()) {
    const Character character = first_of(text);
    if (character.bytes != 0 && harmless(character.code)) {
      safe += text.substr(0, character.bytes);
      text.remove_prefix(character.bytes);
      continue;
    }
    char escaped[5];
    std::snprintf(escaped, sizeof escaped, "\\x%02x", static_cast<unsigned char>(text.front()));
    safe += escaped;
    text.remove_prefix(1);
  }
  return safe;
}

}  // namespace mrpool::base
