// Sizes and durations as people type them and as programs print them.
//
// Sizes follow fio: "4k", "4K", "4kib" and "4KiB" are 4096 bytes, "1m", "1g", "1t" likewise; a bare
// number is bytes. Durations: "5" and "5s" are five seconds, "500ms", "20us", "2m", "1h".
// Thread safety: pure.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace mrpool::load {

// InvalidArgument shows the text and a right one.
absl::StatusOr<uint64_t> parse_size(std::string_view text);
absl::StatusOr<std::chrono::nanoseconds> parse_duration(std::string_view text);

std::string format_size(uint64_t bytes);                  // "64KiB", "1.5GiB", "512B"
std::string format_count(double n);                       // "731k", "1.85M", "12"
std::string format_duration(std::chrono::nanoseconds t);  // "9.6us", "1.2ms", "5s"

}  // namespace mrpool::load
