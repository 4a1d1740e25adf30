// Numbers, sizes and durations as people type them and as programs print them: the one reader of
// each, for every command line and configuration file.
//
// Sizes: a bare number is bytes. A letter alone is binary, as fio and dd read it: "4k", "4K", "1M",
// "1g", "1T". Otherwise IEC and SI are taken at their word: "64KiB" and "64MiB" are powers of 1024,
// "64kB" and "64MB" powers of 1000. The case of letters is of no account. Fractions are fine where
// the result is whole: "1.5GiB".
// Durations: a bare number is seconds; "500ms", "20us", "80ns", "2m", "1h", "1d".
//
// Thread safety: pure.
#pragma once

#include <chrono>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace mrpool::base {

// What a number may be, both ends included.
struct Range {
  uint64_t least = 0;
  uint64_t most = std::numeric_limits<uint64_t>::max();
};
struct DurationRange {
  std::chrono::nanoseconds least{0};
  std::chrono::nanoseconds most = std::chrono::nanoseconds::max();
  bool forever = false;  // "forever" is nanoseconds::max()
};

// InvalidArgument shows the text and what to write.
absl::StatusOr<uint64_t> parse_count(std::string_view text, Range range = {});
absl::StatusOr<uint64_t> parse_size(std::string_view text, Range range = {});
absl::StatusOr<std::chrono::nanoseconds> parse_duration(std::string_view text,
                                                        DurationRange range = {});

std::string format_size(uint64_t bytes);                  // "64KiB", "1.50GiB", "512B"
std::string exact_size(uint64_t bytes);                   // "8191MiB": nothing is rounded
std::string format_count(double n);                       // "731k", "1.85M", "12"
std::string format_duration(std::chrono::nanoseconds t);  // "9.60us", "1.20ms", "5s", "forever"

}  // namespace mrpool::base
