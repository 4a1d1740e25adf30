// How often, and how soon, an initiator submits a command again that its target refused for now.
//
// Thread safety: pure.
#pragma once

#include <chrono>
#include <cstdint>

namespace mrpool::load {

// Further attempts of one command; about six seconds in all.
inline constexpr uint8_t kMostRetries = 6;
inline constexpr std::chrono::milliseconds kFirstRetryDelay{100};

// Before attempt number `retry` + 1 (from 0): twice as long each time.
constexpr std::chrono::nanoseconds retry_delay(uint8_t retry) {
  return kFirstRetryDelay * (1 << retry);
}

}  // namespace mrpool::load
