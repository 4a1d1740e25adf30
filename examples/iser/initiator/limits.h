// Limits and defaults of the initiator, each once. Those that have an option are its defaults.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

#include "mrpool/reactor.h"

namespace mrpool::iser {

inline constexpr uint32_t kDefaultDepth = 32;  // commands under way
inline constexpr uint32_t kMaxDepth = 1024;
// Of connecting and login together, and of logout.
inline constexpr Nanoseconds kDefaultConnectTimeout = std::chrono::seconds(10);
inline constexpr Nanoseconds kDefaultCommandTimeout = std::chrono::seconds(30);

inline constexpr uint32_t kMaxLun = 0x3fff;  // of single level LUN structures (SAM-5 §4.7)
// Of what a target may claim: more is taken for an error.
inline constexpr size_t kMaxLuns = 1 << 14;
inline constexpr size_t kMaxText = 16 << 20;          // bytes of a whole answer to SendTargets
inline constexpr uint32_t kMaxCommandData = 1 << 20;  // bytes that one command moves
inline constexpr uint32_t kSmallestUnitBlock = 512;
inline constexpr uint32_t kLargestUnitBlock = 64 << 10;

}  // namespace mrpool::iser
