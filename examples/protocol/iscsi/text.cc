#include "examples/protocol/iscsi/text.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>

#include "examples/base/printable.h"

namespace mrpool::iscsi {
namespace {

constexpr size_t kMaxKey = 63;

bool label_char(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' ||
         c == '-' || c == '+' || c == '@' || c == '_' || c == '/' || c == '#' || c == ':';
}

bool valid_key(std::string_view key) {
  return !key.empty() && key.size() <= kMaxKey && std::ranges::all_of(key, label_char);
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

int base64_digit(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  if (c == '+') return 62;
  if (c == '/') return 63;
  return -1;
}

std::optional<std::vector<uint8_t>> parse_hex(std::string_view digits) {
  if (digits.empty()) return std::nullopt;
  std::vector<uint8_t> bytes;
  bytes.reserve(digits.size() / 2 + 1);
  size_t at = 0;
  if (digits.size() % 2 != 0) {  // a leading zero may be left out
    const int low = hex_digit(digits[at++]);
    if (low < 0) return std::nullopt;
    bytes.push_back(uint8_t(low));
  }
  for (; at < digits.size(); at += 2) {
    const int high = hex_digit(digits[at]), low = hex_digit(digits[at + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    bytes.push_back(uint8_t(high << 4 | low));
  }
  return bytes;
}

std::optional<std::vector<uint8_t>> parse_base64(std::string_view digits) {
  size_t padding = 0;
  while (!digits.empty() && digits.back() == '=' && padding < 2) {
    digits.remove_suffix(1);
    ++padding;
  }
  if (digits.empty() || (digits.size() + padding) % 4 != 0) return std::nullopt;
  std::vector<uint8_t> bytes;
  bytes.reserve(digits.size() * 3 / 4);
  uint32_t bits = 0;
  unsigned have = 0;
  for (const char c : digits) {
    const int digit = base64_digit(c);
    if (digit < 0) return std::nullopt;
    bits = bits << 6 | uint32_t(digit);
    have += 6;
    if (have >= 8) {
      have -= 8;
      bytes.push_back(uint8_t(bits >> have));
    }
  }
  return bytes;
}

bool has_prefix(std::string_view value, char kind) {
  return value.size() >= 2 && value[0] == '0' && (value[1] | 0x20) == kind;
}

}  // namespace

std::optional<std::vector<KeyValue>> parse_text(std::string_view text) {
  std::vector<KeyValue> pairs;
  while (!text.empty()) {
    const size_t end = text.find('\0');
    const std::string_view pair = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (pair.empty()) continue;  // padding, or a NUL too many
    const size_t equals = pair.find('=');
    if (equals == std::string_view::npos) return std::nullopt;
    const KeyValue parsed{pair.substr(0, equals), pair.substr(equals + 1)};
    if (!valid_key(parsed.key) || find(pairs, parsed.key)) return std::nullopt;
    if (pairs.size() == kMaxPairs) return std::nullopt;
    pairs.push_back(parsed);
  }
  return pairs;
}

std::optional<std::string_view> find(std::span<const KeyValue> pairs, std::string_view key) {
  const auto found = std::ranges::find(pairs, key, &KeyValue::key);
  if (found == pairs.end()) return std::nullopt;
  return found->value;
}

void TextWriter::add(std::string_view key, std::string_view value) {
  text_.append(key).append(1, '=').append(value).append(1, '\0');
}

void TextWriter::add(std::string_view key, uint64_t value) { add(key, std::to_string(value)); }

std::optional<bool> parse_bool(std::string_view value) {
  if (value == "Yes") return true;
  if (value == "No") return false;
  return std::nullopt;
}

std::string_view format_bool(bool value) { return value ? "Yes" : "No"; }

std::optional<uint64_t> parse_number(std::string_view value) {
  int base = 10;
  if (has_prefix(value, 'x')) {
    value.remove_prefix(2);
    base = 16;
  }
  uint64_t number = 0;
  const auto [end, error] =
      std::from_chars(value.data(), value.data() + value.size(), number, base);
  if (error != std::errc{} || end != value.data() + value.size()) return std::nullopt;
  return number;
}

std::optional<std::vector<uint8_t>> parse_binary(std::string_view value) {
  if (has_prefix(value, 'x')) return parse_hex(value.substr(2));
  if (has_prefix(value, 'b')) return parse_base64(value.substr(2));
  return std::nullopt;
}

std::string format_hex(std::span<const uint8_t> bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text = "0x";
  for (const uint8_t byte : bytes) {
    text.push_back(kDigits[byte >> 4]);
    text.push_back(kDigits[byte & 0x0f]);
  }
  return text;
}

std::vector<std::string_view> split_list(std::string_view value) {
  std::vector<std::string_view> members;
  while (true) {
    const size_t comma = value.find(',');
    members.push_back(value.substr(0, comma));
    if (comma == std::string_view::npos) return members;
    value.remove_prefix(comma + 1);
  }
}

bool valid_iscsi_name(std::string_view name) {
  constexpr size_t kMaxName = 223;
  // UTF-8 without control characters: nothing that a terminal would take for more than a name.
  if (name.size() > kMaxName || base::printable(name) != name) return false;
  constexpr std::array<std::string_view, 3> kTypes = {"iqn.", "eui.", "naa."};
  if (!std::ranges::any_of(kTypes, [&](std::string_view type) {
        return name.size() > type.size() && name.starts_with(type);
      })) {
    return false;
  }
  return std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == ':' ||
           (c & 0x80) != 0 || (c >= 'A' && c <= 'F');  // eui. and naa. carry hexadecimal digits
  });
}

bool valid_written_name(std::string_view name) {
  if (!valid_iscsi_name(name)) return false;
  const auto digits = [name](size_t at, size_t count) {
    return std::ranges::all_of(name.substr(at, count), [](char c) { return c >= '0' && c <= '9'; });
  };
  if (name.starts_with("iqn.")) {
    constexpr std::string_view kShape = "iqn.yyyy-mm.";
    if (name.size() <= kShape.size() || !digits(4, 4) || name[8] != '-' || !digits(9, 2)) {
      return false;
    }
    const int month = (name[9] - '0') * 10 + (name[10] - '0');
    return name[11] == '.' && month >= 1 && month <= 12;
  }
  const std::string_view number = name.substr(4);
  const bool hex = std::ranges::all_of(
      number, [](char c) { return std::isxdigit(static_cast<unsigned char>(c)) != 0; });
  return hex && (number.size() == 16 || (number.size() == 32 && name.starts_with("naa.")));
}

std::string normal_iscsi_name(std::string_view name) {
  std::string normal(name);
  for (char& c : normal) {
    if (c >= 'A' && c <= 'Z') c = char(c - 'A' + 'a');
  }
  return normal;
}

}  // namespace mrpool::iscsi
