// The initiator's limits and defaults, each defined once. For an option, the value is its default.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

#include "mrpool/reactor.h"

namespace mrpool::iser {

inline constexpr uint32_t kDefaultDepth = 32;  // concurrent commands
inline constexpr uint32_t kMaxDepth = 1024;
// The time-out of connect and login together, and of logout.
inline constexpr Nanoseconds kDefaultConnectTimeout = std::chrono::seconds(10);
inline constexpr Nanoseconds kDefaultCommandTimeout = std::chrono::seconds(30);

inline constexpr uint32_t kMaxLun = 0x3fff;  // of single level LUN structures (SAM-5 §4.7)
// Limits of a target's answers; larger ones are errors.
inline constexpr size_t kMaxLuns = 1 << 14;
inline constexpr size_t kMaxText = 16 << 20;          // bytes of a whole answer to SendTargets
inline constexpr uint32_t kMaxCommandData = 1 << 20;  // bytes that one command transfers
// What `ls` and `inq` read of the ports of a unit: VPD page 83h, and its target port groups.
inline constexpr size_t kMaxPortGroupData = 4096;
inline constexpr uint32_t kSmallestUnitBlock = 512;
inline constexpr uint32_t kLargestUnitBlock = 64 << 10;

}  // namespace mrpool::iser
