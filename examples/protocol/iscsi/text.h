// Text of login and text PDUs: key=value pairs, each ended by a NUL (RFC 7143 §6.1).
//
// Thread safety: values. Ownership: parsed pairs view the bytes they were parsed from.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mrpool::iscsi {

struct KeyValue {
  std::string_view key;
  std::string_view value;
};

// Nothing when the text breaks the grammar:
//   a pair without '='
//   a key that is empty, longer than 63 bytes, or has a character outside the standard-label set
//   a key that occurs twice
//   more than kMaxPairs pairs, several times the number of keys
inline constexpr size_t kMaxPairs = 128;
std::optional<std::vector<KeyValue>> parse_text(std::string_view text);

// The value of a key, or nothing.
std::optional<std::string_view> find(std::span<const KeyValue> pairs, std::string_view key);

class TextWriter {
 public:
  void add(std::string_view key, std::string_view value);
  void add(std::string_view key, uint64_t value);
  const std::string& text() const { return text_; }
  std::string take() { return std::move(text_); }

 private:
  std::string text_;
};

// "Yes", "No"; nothing else.
std::optional<bool> parse_bool(std::string_view value);
std::string_view format_bool(bool value);
// Decimal or 0x hexadecimal, of 64 bits at most.
std::optional<uint64_t> parse_number(std::string_view value);
// A binary value: 0x hexadecimal or 0b base64 (RFC 7143 §6.1).
std::optional<std::vector<uint8_t>> parse_binary(std::string_view value);
std::string format_hex(std::span<const uint8_t> bytes);
// The members of a comma separated list.
std::vector<std::string_view> split_list(std::string_view value);

// An iSCSI name as RFC 7143 §4.2.7 wants it: iqn., eui. or naa., at most 223 bytes, lower case.
// What follows the type is not looked at: some peers have names of their own making.
bool valid_iscsi_name(std::string_view name);
// The same of a name that a person writes: after "iqn." year and month, 01 to 12 (RFC 7143
// §4.2.7.4), after "eui." and "naa." hexadecimal digits.
bool valid_written_name(std::string_view name);
// The form in which names are compared: ASCII capitals become small (RFC 7143 §4.2.7.2).
std::string normal_iscsi_name(std::string_view name);

}  // namespace mrpool::iscsi
