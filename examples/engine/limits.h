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
// Chunks for what hosts ask of the target itself, such as Identify or REPORT LUNS.
inline constexpr uint32_t kUrgentChunks = chunks_for(kMaxTransfer);
// What a host, or a store, may hold at most, as a multiple of what it leaves free: alone, four
// fifths and two thirds of all. A store has less, so that one that hangs leaves its hosts enough
// for their others.
inline constexpr uint32_t kHostShare = 4;
inline constexpr uint32_t kStoreShare = 2;
// Chunks are numbered by 16 bits.
inline constexpr uint64_t kMinStaging = uint64_t{kMaxChunks + kUrgentChunks} * kChunk;
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
// What a host may take of them: all but an eighth, which is for others.
constexpr uint32_t connections_of_one_host(uint32_t of_all) { return of_all - of_all / 8; }
// Descriptors besides those of connections: of a thread (epoll, event, timer, its ring and the
// ring's event), of a port (its socket and connections that have not said what they want), and for
// what is opened for a moment.
inline constexpr uint64_t kDescriptorsOfThread = 8;
inline constexpr uint64_t kDescriptorsOfPort = 1 + 256;
inline constexpr uint64_t kSpareDescriptors = 32;
// A stranger has so long to log in before it makes room for others while there are guests.
inline constexpr Nanoseconds kLoginGrace = std::chrono::seconds(1);
// What may be fetched from a peer before it is admitted: NVMe's Connect data.
inline constexpr uint32_t kEarlyBytes = 1024;
inline constexpr uint64_t kMaxConnectionMemory = uint64_t{2} << 30;
// Entries of a completion queue that links share; one is made larger when a single link needs more.
inline constexpr uint32_t kCqDepth = 16384;

inline constexpr uint32_t kMaxThreads = 256;
// How long a worker polls before it sleeps.
inline constexpr Nanoseconds kDefaultSpin = ReactorOptions{}.spin;
inline constexpr Nanoseconds kMaxSpin = std::chrono::seconds(1);
// Links are looked at this often: stalled transfers, and what the protocol waits for.
inline constexpr Nanoseconds kTick = std::chrono::milliseconds(250);
// A link with a transfer under way for so long is dropped: it holds staging memory that others wait
// for. That transfer's size and what was moved since it began take longer at the least rate that a
// peer is served at: a slow one gets through what it has asked for.
inline constexpr uint64_t kLeastRate = 256 << 10;  // bytes a second
inline constexpr Nanoseconds kDefaultStallTimeout = std::chrono::seconds(15);
inline constexpr Nanoseconds kMaxStallTimeout = std::chrono::hours(1);
// Addresses that are not up yet are tried again this often.
inline constexpr Nanoseconds kListenRetry = std::chrono::seconds(1);
// Stores are looked at this often: their size, and whether they are where they were.
inline constexpr Nanoseconds kStoreWatch = std::chrono::seconds(3);
// A store whose oldest request has waited for so long is reported.
inline constexpr Nanoseconds kDefaultStorageTimeout = std::chrono::seconds(10);
inline constexpr Nanoseconds kMaxStorageTimeout = std::chrono::hours(1);
// The service manager is told the state so often, where it has changed; a watchdog is fed no more
// often than the other.
inline constexpr Nanoseconds kStatus = std::chrono::seconds(5);
inline constexpr Nanoseconds kLeastBeat = std::chrono::milliseconds(10);
// Requests of a store that took longer are reported, as are those that failed: so often at most.
inline constexpr Nanoseconds kDefaultSlowCommand = std::chrono::seconds(2);
inline constexpr Nanoseconds kMaxSlowCommand = std::chrono::hours(1);
inline constexpr Nanoseconds kStoreReport = std::chrono::seconds(10);
// Limits that were reached are reported so often at most.
inline constexpr Nanoseconds kLimitReport = std::chrono::minutes(1);
// A command that is to end, by an abort, a reset or the end of its connection, waits for its store
// so long, and up to a tick longer. Then it ends without the store: storage/late_ranges.h.
inline constexpr Nanoseconds kAbortPatience = std::chrono::seconds(2);
// A stop that takes longer is not waited for: the process ends all the same.
inline constexpr Nanoseconds kDefaultStopTimeout = std::chrono::seconds(20);
inline constexpr Nanoseconds kMaxStopTimeout = std::chrono::hours(1);
// After that its report may take so long.
inline constexpr Nanoseconds kStopReport = std::chrono::seconds(5);
// A stop waits this long for links that end in good order, and looks this often.
inline constexpr Nanoseconds kStopPatience = std::chrono::seconds(2);
inline constexpr Nanoseconds kStopTick = std::chrono::milliseconds(10);

}  // namespace mrpool::engine
