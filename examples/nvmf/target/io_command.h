// I/O commands: what a submission queue entry asks of which namespace, or the status that refuses
// it. To add one: its opcode in examples/protocol/nvme/wire.h and a line in kCommands of
// io_command.cc; what a new IoKind does with data is in queue_io.cc.
//
// Pure: entries and a namespace table in, a plan out. Clauses: [nvm] 3.2, [base] 4.2 and 7.
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
  kSimple,   // no data: flush, write zeroes
  kRanges,   // host → here: ranges to deallocate, one after the other
};

struct IoPlan {
  IoKind kind = IoKind::kSimple;
  storage::Op op = storage::Op::kRead;
  const Namespace* ns = nullptr;  // null: Flush of all namespaces
  bool fua = false;
  bool deallocate = false;   // write zeroes; Dataset Management with AD
  uint32_t ranges = 0;       // Dataset Management: how many, in the first of the data
  uint64_t offset = 0;       // bytes
  uint64_t length = 0;       // bytes of storage
  uint32_t data_length = 0;  // bytes that travel
};

// An opcode of the I/O queues. io_command.cc holds the table of them, which also makes the Commands
// Supported and Effects log; to add one, add its line and its plan function there.
struct IoCommand {
  nvme::IoOpcode opcode;
  IoKind kind;
  storage::Op op;
  bool changes_content;  // refused where the namespace is write protected
  // Goes on with a plan that has kind, op and namespace.
  nvme::Status (*plan)(const nvme::Sqe& sqe, const DataBuffers& data, IoPlan& plan);
};
std::span<const IoCommand> io_commands();

// kSuccess and a plan, or the status to answer. `data` is what parse_sgl found.
[[nodiscard]] nvme::Status plan_io(const nvme::Sqe& sqe, const DataBuffers& data,
                                   const NamespaceTable& table, IoPlan& plan);

// A range of Dataset Management, checked.
[[nodiscard]] nvme::Status plan_range(const nvme_dsm_range& range,
                                      const storage::Geometry& geometry, uint64_t& offset,
                                      uint64_t& length);

// What the host is told of a storage error.
nvme::Status to_status(storage::Error error);

// The checks of flags that all commands share: SGLs only, nothing fused.
[[nodiscard]] nvme::Status check_flags(const nvme::Sqe& sqe);

}  // namespace mrpool::nvmf_target
