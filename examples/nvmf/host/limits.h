// Limits and defaults of the host, each once. Those that have an option are its defaults.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

#include "mrpool/reactor.h"

namespace mrpool::nvme::host {

inline constexpr Nanoseconds kDefaultKeepAlive = std::chrono::seconds(10);
inline constexpr Nanoseconds kDefaultConnectTimeout = std::chrono::seconds(5);
inline constexpr Nanoseconds kDefaultCommandTimeout = std::chrono::seconds(30);
inline constexpr Nanoseconds kDefaultReconnectDelay = std::chrono::milliseconds(500);
inline constexpr Nanoseconds kDefaultLossTimeout = std::chrono::minutes(10);

// Entries of a queue that the host can use: command identifiers have ten bits for the slot.
inline constexpr uint16_t kMaxDepth = 1023;
// Limits of what a target may report: more is treated as an error.
inline constexpr size_t kMaxNamespaces = 1 << 16;
inline constexpr uint64_t kMaxDiscoveryRecords = 4096;

}  // namespace mrpool::nvme::host
