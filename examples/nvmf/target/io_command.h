// I/O commands: parses a submission queue entry into a plan for a namespace, or the status that
// refuses it. To add one: its opcode in examples/protocol/nvme/wire.h and a line in kCommands of
// io_command.cc; queue_io.cc has the data transfer of each IoKind.
//
// Pure: from an entry and a namespace table to a plan. Clauses: [nvm] 3.2, [base] 4.2 and 7.
#pragma once

#include <cstdint>
#include <span>

#include "examples/nvmf/target/sgl.h"
#include "examples/nvmf/target/subsystem.h"
#include "examples/protocol/nvme/wire.h"
#include "examples/storage/storage.h"

namespace mrpool::nvmf_target {

enum class IoKind : uint8_t {
  kRead,     // storage → host
  kWrite,    // host → storage
  kCompare,  // host → here, compared with storage
  kVerify,   // storage → here, and no further
  kSimple,   // no data: flush, write zeroes
  kMark,     // no data: Write Uncorrectable
  kFormat,   // no data: of the admin queue
  kRanges,   // host → here: ranges to deallocate, one after the other
  kCopy,     // host → here: ranges, each storage → here → storage
  kReserve,  // host → here: keys of a reservation
  kReport,   // here → host: the reservations
};

struct IoPlan {
  IoKind kind = IoKind::kSimple;
  storage::Op op = storage::Op::kRead;
  const Namespace* ns = nullptr;  // null: Flush of all namespaces
  bool fua = false;
  bool deallocate = false;   // write zeroes; Dataset Management with AD
  uint32_t ranges = 0;       // Dataset Management, Copy: their number; they begin the data
  uint64_t offset = 0;       // bytes
  uint64_t length = 0;       // bytes of storage
  uint32_t data_length = 0;  // bytes transferred
  reservation::Access access{};
};

// An opcode of the I/O queues. io_command.cc has the table of them, which also generates the
// Commands Supported and Effects log. To add one, add its line and its plan function there.
struct IoCommand {
  nvme::IoOpcode opcode;
  IoKind kind;
  storage::Op op;
  bool changes_content;        // refused if the namespace is write protected
  reservation::Access access;  // under the reservation of another host, [base] 8.19
  // Completes a plan that has kind, op and namespace.
  nvme::Status (*plan)(const nvme::Sqe& sqe, const DataBuffers& data, IoPlan& plan);
};
std::span<const IoCommand> io_commands();

// kSuccess and a plan, or the status to answer. `data` is the result of parse_sgl.
[[nodiscard]] nvme::Status plan_io(const nvme::Sqe& sqe, const DataBuffers& data,
                                   const NamespaceTable& table, IoPlan& plan);

// Whether the store's blocks are others afterwards.
bool changes_blocks(storage::Op op);

// Checks a range of Dataset Management and converts it to bytes.
[[nodiscard]] nvme::Status plan_range(const nvme_dsm_range& range,
                                      const storage::Geometry& geometry, uint64_t& offset,
                                      uint64_t& length);

// Checks the ranges of a Copy, which `ranges` has, and its destination; the plan gets the bytes of
// the destination.
[[nodiscard]] nvme::Status plan_copied(const nvme::Sqe& sqe, std::span<const std::byte> ranges,
                                       const storage::Geometry& geometry, IoPlan& plan);
// The source in bytes of a range that plan_copied() has accepted.
void copied_range(const nvme_copy_range& range, const storage::Geometry& geometry, uint64_t& offset,
                  uint64_t& length);

// The NVMe status of a storage error.
nvme::Status to_status(storage::Error error);

// Checks the flags that all commands share: SGLs only; fused commands on I/O queues only.
[[nodiscard]] nvme::Status check_flags(const nvme::Sqe& sqe, bool io_queue);

}  // namespace mrpool::nvmf_target
