#include "examples/base/units.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <optional>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace mrpool::base {
namespace {

using std::chrono::nanoseconds;

absl::string_view view(std::string_view text) { return {text.data(), text.size()}; }

struct Unit {
  std::string_view name;
  uint64_t factor;
};
constexpr uint64_t kSi[] = {
    1, 1'000, 1'000'000, 1'000'000'000, 1'000'000'000'000, 1'000'000'000'000'000};
constexpr std::array kSizeUnits{Unit{"", 1},
                                Unit{"b", 1},
                                Unit{"k", 1u << 10},
                                Unit{"kib", 1u << 10},
                                Unit{"kb", kSi[1]},
                                Unit{"m", 1u << 20},
                                Unit{"mib", 1u << 20},
                                Unit{"mb", kSi[2]},
                                Unit{"g", 1u << 30},
                                Unit{"gib", 1u << 30},
                                Unit{"gb", kSi[3]},
                                Unit{"t", 1ul << 40},
                                Unit{"tib", 1ul << 40},
                                Unit{"tb", kSi[4]},
                                Unit{"p", 1ul << 50},
                                Unit{"pib", 1ul << 50},
                                Unit{"pb", kSi[5]}};
constexpr std::array kDurationUnits{
    Unit{"", kSi[3]}, Unit{"s", kSi[3]},      Unit{"ms", kSi[2]},       Unit{"us", kSi[1]},
    Unit{"ns", 1},    Unit{"m", 60 * kSi[3]}, Unit{"h", 3600 * kSi[3]}, Unit{"d", 86400 * kSi[3]}};

// value += digits * factor, false when that is more than 64 bits hold.
bool accumulate(uint64_t digits, uint64_t factor, uint64_t& value) {
  uint64_t product = 0;
  return !__builtin_mul_overflow(digits, factor, &product) &&
         !__builtin_add_overflow(value, product, &value);
}

// "1.5ms" in the smallest unit; nothing where it is not a number, has no such unit, is not whole,
// or is too large. Exact: no floating point.
template <size_t N>
std::optional<uint64_t> parse_scaled(std::string_view text, const std::array<Unit, N>& units) {
  const char* const end = text.data() + text.size();
  uint64_t whole = 0;
  auto [at, error] = std::from_chars(text.data(), end, whole);
  if (error != std::errc()) return std::nullopt;
  uint64_t fraction = 0, divisor = 1;
  if (at != end && *at == '.') {
    const char* const digits = at + 1;
    const auto parsed = std::from_chars(digits, end, fraction);
    if (parsed.ec != std::errc() || parsed.ptr - digits > 18) return std::nullopt;
    at = parsed.ptr;
    for (const char* digit = digits; digit != at; ++digit) divisor *= 10;
    for (; divisor > 1 && fraction % 10 == 0; divisor /= 10) fraction /= 10;
  }
  std::string name(at, end);
  for (char& c : name) c = c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c;
  const auto unit = std::ranges::find(units, std::string_view(name), &Unit::name);
  if (unit == units.end()) return std::nullopt;
  uint64_t value = 0, part = 0;
  if (!accumulate(whole, unit->factor, value)) return std::nullopt;
  if (!accumulate(fraction, unit->factor, part) || part % divisor != 0) return std::nullopt;
  if (__builtin_add_overflow(value, part / divisor, &value)) return std::nullopt;
  return value;
}

std::string shortest(double value, const char* unit) {
  char text[48];
  const int digits = value >= 100 || value == std::floor(value) ? 0 : value >= 10 ? 1 : 2;
  std::snprintf(text, sizeof text, "%.*f%s", digits, value, unit);
  return text;
}

// "'7' is not NOUN from 8 to 9", or without the end that means nothing.
absl::Status outside(std::string_view text, const char* noun, const std::string& least,
                     const std::string& most) {
  return absl::InvalidArgumentError(
      absl::StrCat("'", view(text), "' is not ", noun,
                   most.empty() ? absl::StrCat(" of at least ", least)
                                : absl::StrCat(" from ", least, " to ", most)));
}

}  // namespace

absl::StatusOr<uint64_t> parse_count(std::string_view text, Range range) {
  uint64_t value = 0;
  const char* const end = text.data() + text.size();
  const auto [at, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || at != end || value < range.least || value > range.most) {
    return outside(text, "a whole number", absl::StrCat(range.least),
                   range.most == Range{}.most ? "" : absl::StrCat(range.most));
  }
  return value;
}

absl::StatusOr<uint64_t> parse_size(std::string_view text, Range range) {
  const std::optional<uint64_t> bytes = parse_scaled(text, kSizeUnits);
  if (!bytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "'", view(text), "' is not a size; write bytes or a unit, as 4096, 4k, 64MiB or 64MB"));
  }
  if (*bytes < range.least || *bytes > range.most) {
    return outside(text, "a size", exact_size(range.least),
                   range.most == Range{}.most ? "" : exact_size(range.most));
  }
  return *bytes;
}

absl::StatusOr<nanoseconds> parse_duration(std::string_view text, DurationRange range) {
  if (range.forever && text == "forever") return nanoseconds::max();
  const std::optional<uint64_t> ns = parse_scaled(text, kDurationUnits);
  if (!ns || *ns > uint64_t(nanoseconds::max().count())) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", view(text), "' is not a duration; write seconds or a unit, as 5, 500ms, ",
                     range.forever ? "2m or forever" : "20us or 2m"));
  }
  const nanoseconds duration{int64_t(*ns)};
  if (duration < range.least || duration > range.most) {
    return outside(text, "a duration", format_duration(range.least),
                   range.most == nanoseconds::max() ? "" : format_duration(range.most));
  }
  return duration;
}

std::string format_size(uint64_t bytes) {
  static constexpr std::array<const char*, 6> kUnits{"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  double value = double(bytes);
  size_t unit = 0;
  while (value >= 1024 && unit + 1 < kUnits.size()) value /= 1024, ++unit;
  return shortest(value, kUnits[unit]);
}

std::string exact_size(uint64_t bytes) {
  static constexpr std::array<const char*, 5> kUnits{"", "KiB", "MiB", "GiB", "TiB"};
  size_t unit = 0;
  while (bytes != 0 && bytes % 1024 == 0 && unit + 1 < kUnits.size()) bytes /= 1024, ++unit;
  return absl::StrCat(bytes, kUnits[unit]);
}

std::string format_count(double n) {
  if (n >= 1e6) return shortest(n / 1e6, "M");
  if (n >= 1e4) return shortest(n / 1e3, "k");
  return shortest(std::round(n), "");
}

std::string format_duration(nanoseconds t) {
  if (t == nanoseconds::max()) return "forever";
  const double ns = double(t.count());
  if (ns < 1e3) return shortest(ns, "ns");
  if (ns < 1e6) return shortest(ns / 1e3, "us");
  if (ns < 1e9) return shortest(ns / 1e6, "ms");
  return shortest(ns / 1e9, "s");
}

}  // namespace mrpool::base
