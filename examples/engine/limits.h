// The engine's limits and defaults, each defined once, with its reason.
//
// Thread safety: constants. Units: bytes unless the name has another unit.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

#include "mrpool/reactor.h"

namespace mrpool::engine {

// The longest transfer of one command. Protocols report it to their peers (Identify MDTS, Block
// Limits).
inline constexpr uint32_t kMaxTransfer = 1 << 20;
// Staging memory is allocated in chunks of this size.
inline constexpr uint32_t kChunk = 128 << 10;
constexpr uint32_t chunks_for(uint64_t bytes) { return uint32_t((bytes + kChunk - 1) / kChunk); }
// For one claim: twice the longest transfer, because Compare holds both operands.
inline constexpr uint32_t kMaxChunks = 2 * chunks_for(kMaxTransfer);
// Chunks for commands that the target answers itself, such as Identify or REPORT LUNS.
inline constexpr uint32_t kUrgentChunks = chunks_for(kMaxTransfer);
// The most that a host or a store may hold, as a multiple of what it leaves free. If it is alone,
// these are four fifths and two thirds of all. A store has the smaller share, so that a store that
// hangs leaves its hosts enough for their other stores.
inline constexpr uint32_t kHostShare = 4;
inline constexpr uint32_t kStoreShare = 2;
// Chunks are numbered by 16 bits.
inline constexpr uint64_t kMinStaging = uint64_t{kMaxChunks + kUrgentChunks} * kChunk;
inline constexpr uint64_t kMaxStaging = uint64_t{8191} << 20;
static_assert(kMaxStaging / kChunk <= 0xffff);
inline constexpr uint64_t kDefaultStaging = 32 << 20;  // of each worker

// Concurrent transfers of one link; further ones wait in the RwContext, in order.
inline constexpr uint32_t kMaxOperations = 128;
// Entries of a device's MR pool.
inline constexpr uint32_t kDefaultMrs = 1024;
inline constexpr uint32_t kMaxMrs = 1 << 20;
// Connections of a worker; kMaxConnectionMemory limits the memory that all of them may use.
inline constexpr uint32_t kDefaultMaxConnections = 2048;
inline constexpr uint32_t kMaxConnections = 65536;
// The most that one host may have: all but an eighth, which is reserved for others.
constexpr uint32_t connections_of_one_host(uint32_t of_all) { return of_all - of_all / 8; }
// Descriptors in addition to those of connections. Of a thread: epoll, event, timer, its ring and
// the ring's event. Of a port: its socket, and connections that have not sent their request yet.
// Spare ones: for files that are opened briefly.
inline constexpr uint64_t kDescriptorsOfThread = 8;
inline constexpr uint64_t kDescriptorsOfPort = 1 + 256;
inline constexpr uint64_t kSpareDescriptors = 32;
// The time that a peer has to log in. After it, the peer is dropped before guests when there are
// too many connections.
inline constexpr Nanoseconds kLoginGrace = std::chrono::seconds(1);
// The most that is read from a peer before it is admitted: NVMe's Connect data.
inline constexpr uint32_t kEarlyBytes = 1024;
inline constexpr uint64_t kMaxConnectionMemory = uint64_t{2} << 30;
// Entries of a completion queue that links share; a queue is larger if a single link needs more.
inline constexpr uint32_t kCqDepth = 16384;

inline constexpr uint32_t kMaxThreads = 256;
// The time that a worker polls before it sleeps.
inline constexpr Nanoseconds kDefaultSpin = ReactorOptions{}.spin;
inline constexpr Nanoseconds kMaxSpin = std::chrono::seconds(1);
// The interval at which links are checked: for stalled transfers, and for the protocol's time-outs.
inline constexpr Nanoseconds kTick = std::chrono::milliseconds(250);
// A link whose transfer takes longer than this time-out is dropped, because it holds staging memory
// that others wait for. The limit is longer by the time that the bytes of this and other transfers
// since its start need at kLeastRate, so that a slow peer completes its transfers.
inline constexpr uint64_t kLeastRate = 256 << 10;  // bytes a second
inline constexpr Nanoseconds kDefaultStallTimeout = std::chrono::seconds(15);
inline constexpr Nanoseconds kMaxStallTimeout = std::chrono::hours(1);
// The interval of retries for addresses that are not up yet.
inline constexpr Nanoseconds kListenRetry = std::chrono::seconds(1);
// The interval at which stores are checked: for their size, and whether the path still leads to the
// same store.
inline constexpr Nanoseconds kStoreWatch = std::chrono::seconds(3);
// A store whose oldest request has waited this long is reported.
inline constexpr Nanoseconds kDefaultStorageTimeout = std::chrono::seconds(10);
inline constexpr Nanoseconds kMaxStorageTimeout = std::chrono::hours(1);
// The service manager receives the state at the interval kStatus, if it has changed. kLeastBeat is
// the shortest interval of watchdog messages.
inline constexpr Nanoseconds kStatus = std::chrono::seconds(5);
inline constexpr Nanoseconds kLeastBeat = std::chrono::milliseconds(10);
// Requests of a store that took longer than this are reported, like those that failed. kStoreReport
// is the shortest interval of these reports.
inline constexpr Nanoseconds kDefaultSlowCommand = std::chrono::seconds(2);
inline constexpr Nanoseconds kMaxSlowCommand = std::chrono::hours(1);
inline constexpr Nanoseconds kStoreReport = std::chrono::seconds(10);
// The shortest interval of reports about a limit that was reached.
inline constexpr Nanoseconds kLimitReport = std::chrono::minutes(1);
// The time that an aborted command waits for its store, plus up to one tick. An abort, a reset or
// the end of the connection aborts it. Then it ends without the store: storage/late_ranges.h.
inline constexpr Nanoseconds kAbortPatience = std::chrono::seconds(2);
// The time limit of a stop; after it the process exits anyway.
inline constexpr Nanoseconds kDefaultStopTimeout = std::chrono::seconds(20);
inline constexpr Nanoseconds kMaxStopTimeout = std::chrono::hours(1);
// The time that the report after this limit may take.
inline constexpr Nanoseconds kStopReport = std::chrono::seconds(5);
// The time that a stop waits for an orderly end of the links, and the interval of its checks.
inline constexpr Nanoseconds kStopPatience = std::chrono::seconds(2);
inline constexpr Nanoseconds kStopTick = std::chrono::milliseconds(10);

}  // namespace mrpool::engine
