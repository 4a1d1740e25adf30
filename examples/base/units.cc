#include "examples/base/units.h"

#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <limits>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace mrpool::load {
namespace {

// Splits "12.5ms" into the number and its lower-case suffix; false when there is no number.
bool split(std::string_view text, double& number, std::string& suffix) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || number < 0 || !std::isfinite(number)) return false;
  suffix.clear();
  for (const char c : text.substr(size_t(end - text.data()))) {
    suffix += c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c;
  }
  return true;
}

std::string shortest(double value, const char* unit) {
  char text[48];
  const int digits = value >= 100 || value == std::floor(value) ? 0 : value >= 10 ? 1 : 2;
  std::snprintf(text, sizeof text, "%.*f%s", digits, value, unit);
  return text;
}

}  // namespace

absl::StatusOr<uint64_t> parse_size(std::string_view text) {
  double number = 0;
  std::string suffix;
  const auto bad = [&] {
    return absl::InvalidArgumentError(
        absl::StrCat("'", absl::string_view(text.data(), text.size()),
                     "' is not a size; write bytes or a binary unit, as 4096, 4k or 64MiB"));
  };
  if (!split(text, number, suffix)) return bad();
  static constexpr std::string_view kUnits = "kmgtp";
  double scale = 1;
  if (!suffix.empty() && suffix != "b") {
    const size_t unit = kUnits.find(suffix[0]);
    const std::string_view rest = std::string_view(suffix).substr(1);
    if (unit == kUnits.npos || (!rest.empty() && rest != "ib" && rest != "i" && rest != "b")) {
      return bad();
    }
    scale = std::ldexp(1.0, 10 * int(unit + 1));
  }
  const double bytes = number * scale;
  if (bytes != std::floor(bytes) || bytes > 9.2e18) return bad();
  return uint64_t(bytes);
}

absl::StatusOr<std::chrono::nanoseconds> parse_duration(std::string_view text) {
  struct Unit {
    std::string_view name;
    double ns;
  };
  static constexpr std::array<Unit, 8> kUnits{{{"", 1e9},
                                               {"s", 1e9},
                                               {"ms", 1e6},
                                               {"us", 1e3},
                                               {"ns", 1},
                                               {"m", 60e9},
                                               {"h", 3600e9},
                                               {"d", 86400e9}}};
  double number = 0;
  std::string suffix;
  if (split(text, number, suffix)) {
    for (const Unit& unit : kUnits) {
      if (unit.name == suffix && number * unit.ns < 9.2e18) {
        return std::chrono::nanoseconds(int64_t(number * unit.ns));
      }
    }
  }
  return absl::InvalidArgumentError(
      absl::StrCat("'", absl::string_view(text.data(), text.size()),
                   "' is not a duration; write seconds or a unit, as 5, 500ms or 2m"));
}

std::string format_size(uint64_t bytes) {
  static constexpr std::array<const char*, 6> kUnits{"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  double value = double(bytes);
  size_t unit = 0;
  while (value >= 1024 && unit + 1 < kUnits.size()) value /= 1024, ++unit;
  return shortest(value, kUnits[unit]);
}

std::string format_count(double n) {
  if (n >= 1e6) return shortest(n / 1e6, "M");
  if (n >= 1e4) return shortest(n / 1e3, "k");
  return shortest(std::round(n), "");
}

std::string format_duration(std::chrono::nanoseconds t) {
  const double ns = double(t.count());
  if (ns < 1e3) return shortest(ns, "ns");
  if (ns < 1e6) return shortest(ns / 1e3, "us");
  if (ns < 1e9) return shortest(ns / 1e6, "ms");
  return shortest(ns / 1e9, "s");
}

}  // namespace mrpool::load
