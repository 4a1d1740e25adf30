// The limits and sizes of the uiwarp device, each with its reason.
//
// Thread safety: constants.
#pragma once

#include <cstddef>
#include <cstdint>

namespace mrpool::uiwarp {

// Requests in one queue (DeviceCaps::max_qp_wr).
inline constexpr uint32_t kMaxQueueEntries = 32 * 1024;
// Entries of one Cq. A Cq's memory grows with its Qps, not with its depth.
inline constexpr uint32_t kMaxCqEntries = 1u << 22;
// SGEs of one SEND, WRITE or receive (DeviceCaps::max_sge).
inline constexpr uint32_t kMaxSges = 16;
// READs outstanding in one direction (DeviceCaps::max_ord and max_ird).
inline constexpr uint16_t kMaxReads = 128;
// Segments of one fast-registered key (DeviceCaps::max_fast_reg_segments).
inline constexpr uint32_t kMaxFastRegSegments = 1024;
// Blocks of one integrity MR (DeviceCaps::max_integrity_blocks): 4 MiB in the smallest ones.
inline constexpr uint32_t kMaxIntegrityBlocks = 8192;
// Bytes of one SEND, WRITE or READ (DeviceCaps::max_message).
inline constexpr uint64_t kMaxMessageBytes = uint64_t{1} << 30;

// Payload of one DDP segment, and so of one FPDU: as much as MPA's longest ULPDU (64,768 bytes)
// takes in whole KiB. The receiver makes one system call per large segment.
inline constexpr uint32_t kMaxSegmentPayload = 63 * 1024;
// What one batch gathers before it is handed to the socket. Bulk throughput depends mostly on the
// size of a send. On loopback, bare TCP moves 128 KiB replies 1.4 times as fast in sends of this
// size as in sends of half of it. The size of the receives has little effect.
inline constexpr uint64_t kMaxBatchBytes = 512 * 1024;
// While READs of this many bytes are out, further ones wait until a batch of the peer's can be
// asked for in one send; the peer has as much again to answer meanwhile. One request a send costs
// the peer a segment to receive in the midst of its answers, and cuts its batches short.
inline constexpr uint64_t kReadAheadBytes = 2 * kMaxBatchBytes;

}  // namespace mrpool::uiwarp
