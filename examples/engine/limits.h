// The engine's limits and defaults, each once, with its reason.
//
// Thread safety: constants. Units: bytes unless the name says otherwise.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

#include "mrpool/reactor.h"

namespace mrpool::engine {

// The longest transfer of one command. Protocols tell it to their peers (Identify MDTS, Block
// Limits).
inline constexpr uint32_t kMaxTransfer = 1 << 20;
// Staging memory is handed out in chunks of this size.
inline constexpr uint32_t kChunk = 128 << 10;
constexpr uint32_t chunks_for(uint64_t bytes) { return uint32_t((bytes + kChunk - 1) / kChunk); }
// One claim: the longest transfer twice, because Compare holds both sides.
inline constexpr uint32_t kMaxChunks = 2 * chunks_for(kMaxTransfer);
// Chunks are numbered by 16 bits.
inline constexpr uint64_t kMinStaging = uint64_t{kMaxChunks} * kChunk;
inline constexpr uint64_t kMaxStaging = uint64_t{8191} << 20;
static_assert(kMaxStaging / kChunk <= 0xffff);
inline constexpr uint64_t kDefaultStaging = 32 << 20;  // of each worker

// Transfers of one link at the same time; more wait in the RwContext, in order.
inline constexpr uint32_t kMaxOperations = 128;
// Entries of a device's MR pool.
inline constexpr uint32_t kDefaultMrs = 1024;
inline constexpr uint32_t kMaxMrs = 1 << 20;
// Connections of a worker, and the memory that all of them may come to hold.
inline constexpr uint32_t kDefaultMaxConnections = 2048;
inline constexpr uint32_t kMaxConnections = 65536;
inline constexpr uint64_t kMaxConnectionMemory = uint64_t{2} << 30;
// Entries of a completion queue that links share; one is made larger when a single link needs more.
inline constexpr uint32_t kCqDepth = 16384;

inline constexpr uint32_t kMaxThreads = 256;
// How long a worker polls before it sleeps.
inline constexpr Nanoseconds kDefaultSpin = std::chrono::microseconds(50);
inline constexpr Nanoseconds kMaxSpin = std::chrono::seconds(1);
// Links are looked at this often: stalled transfers, and what the protocol waits for.
inline constexpr Nanoseconds kTick = std::chrono::milliseconds(250);
// A link whose transfers make no progress for so long is dropped: it holds staging memory that
// others wait for.
inline constexpr Nanoseconds kDefaultStallTimeout = std::chrono::seconds(15);
inline constexpr Nanoseconds kMaxStallTimeout = std::chrono::hours(1);
// A stop waits this long for links that end in good order, and looks this often.
inline constexpr Nanoseconds kStopPatience = std::chrono::seconds(2);
inline constexpr Nanoseconds kStopTick = std::chrono::milliseconds(10);

}  // namespace mrpool::engine
