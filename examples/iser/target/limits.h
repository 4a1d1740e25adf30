// The limits of the target, and sums of them. All resources of a connection are computed from these
// before its queue pair exists.
//
// Thread safety: constants. Units: bytes unless the name has another unit.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

#include "examples/engine/limits.h"
#include "examples/protocol/iscsi/iser_header.h"
#include "examples/protocol/iscsi/pdu.h"
#include "mrpool/reactor.h"

namespace mrpool::iser_target {

// Commands an initiator may have outstanding: the CmdSN window.
inline constexpr uint32_t kQueueDepth = 128;
// Immediate commands and other PDUs outside the window (MaxOutstandingUnexpectedPDUs).
inline constexpr uint32_t kMaxUnexpected = 16;
// One window of active commands, and one of commands whose answers were sent but whose SEND has not
// completed yet.
inline constexpr uint32_t kTasks = 2 * kQueueDepth;

inline constexpr size_t kHeaders = iscsi::kIserHeaderSize + iscsi::kBhsSize;
// TargetRecvDataSegmentLength: immediate data of a command, text of a login.
inline constexpr uint32_t kRecvData = 8192;
// Data segments start on a page, so that direct files can write immediate data from the receive
// buffer. So the headers end at the end of the first page.
inline constexpr size_t kPage = 4096;
inline constexpr size_t kReceiveStride = kPage + kRecvData;
inline constexpr size_t kReceiveOffset = kPage - kHeaders;
inline constexpr uint32_t kReceiveSize = kHeaders + kRecvData;
static_assert(kHeaders < kPage);

// PDUs of unsolicited data of one command: its immediate data, and Data-Outs if InitialR2T=No was
// negotiated.
inline constexpr uint32_t kDataOutsPerCommand = 2;
inline constexpr uint32_t kMaxPieces = 1 + kDataOutsPerCommand;
inline constexpr uint32_t kFirstBurstUnsolicited = kMaxPieces * kRecvData;

// Receives: a command holds its receive while its data is in it; so may every Data-Out.
constexpr uint32_t receives(bool initial_r2t) {
  return kQueueDepth * (initial_r2t ? 1 : kMaxPieces) + kMaxUnexpected;
}

// LUNs with a single-level address (SAM-5 §4.7).
inline constexpr size_t kMaxLuns = 1 << 14;

// Lost initiator ports whose knowledge of LUNs is kept (SeenUnits).
inline constexpr size_t kMaxLostPorts = 1024;

// The longest transfer, and its chunks of staging memory.
inline constexpr uint32_t kChunk = engine::kChunk;
inline constexpr uint32_t kMaxTransfer = engine::kMaxTransfer;
inline constexpr uint32_t kMaxChunks = kMaxTransfer / kChunk;
static_assert(kMaxTransfer % kChunk == 0);

// Answers outside tasks: one for each unexpected PDU, plus a login or text answer, a ping of the
// target, an asynchronous message, and a reject.
inline constexpr uint32_t kControlSends = kMaxUnexpected + 4;

}  // namespace mrpool::iser_target
