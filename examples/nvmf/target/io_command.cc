#include "examples/nvmf/target/io_command.h"

#include <algorithm>

#include "examples/nvmf/target/limits.h"

namespace mrpool::nvmf_target {

using nvme::IoOpcode;
using nvme::Sqe;
using nvme::Status;
using nvme::with_dnr;

namespace {

// Converts blocks to bytes; checks by subtraction, because the host chooses slba.
Status to_bytes(const storage::Geometry& geometry, uint64_t slba, uint64_t blocks, IoPlan& plan) {
  if (slba > geometry.blocks || blocks > geometry.blocks - slba) {
    return with_dnr(Status::kLbaOutOfRange);
  }
  plan.offset = slba * geometry.block_size;
  plan.length = blocks * geometry.block_size;
  return Status::kSuccess;
}

// Bit 18 of SGLS is clear: the SGL must have exactly the length of the transfer.
Status check_length(const DataBuffers& data, const IoPlan& plan) {
  return data.length == plan.data_length ? Status::kSuccess : with_dnr(Status::kSglDataLength);
}

Status plan_transfer(const Sqe& sqe, const DataBuffers& data, IoPlan& plan) {
  const storage::Geometry& geometry = plan.ns->volume->geometry();
  if (const Status s = to_bytes(geometry, sqe.slba(), sqe.blocks(), plan); !ok(s)) return s;
  if (plan.length > kMaxTransfer) return with_dnr(Status::kInvalidField);  // beyond MDTS
  plan.fua = (sqe.cdw12 & nvme::kCdw12Fua) != 0;
  plan.data_length = uint32_t(plan.length);
  return check_length(data, plan);
}

// What VSL announces is that of MDTS.
Status plan_verify(const Sqe& sqe, const DataBuffers&, IoPlan& plan) {
  const storage::Geometry& geometry = plan.ns->volume->geometry();
  if (const Status s = to_bytes(geometry, sqe.slba(), sqe.blocks(), plan); !ok(s)) return s;
  return plan.length > kMaxTransfer ? with_dnr(Status::kInvalidField) : Status::kSuccess;
}

Status plan_flush(const Sqe&, const DataBuffers&, IoPlan&) { return Status::kSuccess; }

Status plan_zeroes(const Sqe& sqe, const DataBuffers&, IoPlan& plan) {
  plan.fua = (sqe.cdw12 & nvme::kCdw12Fua) != 0;
  plan.deallocate = (sqe.cdw12 & nvme::kCdw12Deallocate) != 0;
  return to_bytes(plan.ns->volume->geometry(), sqe.slba(), sqe.blocks(), plan);
}

// WUSL is 0: as many blocks as the command can name.
Status plan_mark(const Sqe& sqe, const DataBuffers&, IoPlan& plan) {
  if (plan.ns->volume->shared()) return with_dnr(Status::kInvalidOpcode);
  return to_bytes(plan.ns->volume->geometry(), sqe.slba(), sqe.blocks(), plan);
}

Status plan_dataset(const Sqe& sqe, const DataBuffers& data, IoPlan& plan) {
  constexpr uint32_t kDeallocateAttribute = 1u << 2;
  constexpr uint32_t kMaxRanges = 256;
  plan.deallocate = (sqe.cdw11 & kDeallocateAttribute) != 0;
  plan.ranges = (sqe.cdw10 & 0xff) + 1;
  // Linux sends a whole page for any number of ranges, because some devices read all of it.
  if (data.length < plan.ranges * sizeof(nvme_dsm_range) ||
      data.length > kMaxRanges * sizeof(nvme_dsm_range)) {
    return with_dnr(Status::kSglDataLength);
  }
  plan.data_length = uint32_t(data.length);
  return Status::kSuccess;
}

Status plan_copy(const Sqe& sqe, const DataBuffers& data, IoPlan& plan) {
  if (nvme::copy_format(sqe.cdw12) != 0) return with_dnr(Status::kInvalidField);
  plan.ranges = nvme::copy_ranges(sqe.cdw12);
  if (plan.ranges > kMaxCopyRanges) return with_dnr(Status::kCommandSizeLimitExceeded);
  plan.fua = (sqe.cdw12 & nvme::kCdw12Fua) != 0;
  plan.data_length = uint32_t(plan.ranges * sizeof(nvme_copy_range));
  return check_length(data, plan);
}

Status plan_reserve(const Sqe& sqe, const DataBuffers& data, IoPlan& plan) {
  const bool release = IoOpcode(sqe.opcode) == IoOpcode::kReservationRelease;
  plan.data_length =
      release ? sizeof(nvme::ReservationKeys::current) : sizeof(nvme::ReservationKeys);
  return check_length(data, plan);
}

Status plan_report(const Sqe& sqe, const DataBuffers& data, IoPlan& plan) {
  // Hosts of Fabrics have identifiers of 128 bits, which only the extended structure has room for.
  if ((sqe.cdw11 & nvme::kExtendedReport) == 0) return with_dnr(Status::kHostIdInconsistent);
  const uint64_t bytes = (uint64_t(uint32_t(sqe.cdw10)) + 1) * 4;
  if (bytes > kMaxTransfer) return with_dnr(Status::kInvalidField);
  plan.data_length = uint32_t(bytes);
  return check_length(data, plan);
}

using reservation::Access;
using storage::Op;
// Frequent commands first, because the search is linear.
constexpr IoCommand kCommands[] = {
    {IoOpcode::kRead, IoKind::kRead, Op::kRead, false, Access::kRead, plan_transfer},
    {IoOpcode::kWrite, IoKind::kWrite, Op::kWrite, true, Access::kWrite, plan_transfer},
    {IoOpcode::kFlush, IoKind::kSimple, Op::kFlush, false, Access::kWrite, plan_flush},
    {IoOpcode::kCompare, IoKind::kCompare, Op::kRead, false, Access::kRead, plan_transfer},
    {IoOpcode::kWriteZeroes, IoKind::kSimple, Op::kWriteZeroes, true, Access::kWrite, plan_zeroes},
    {IoOpcode::kDatasetManagement, IoKind::kRanges, Op::kDeallocate, true, Access::kWrite,
     plan_dataset},
    {IoOpcode::kWriteUncorrectable, IoKind::kMark, Op::kWriteZeroes, true, Access::kWrite,
     plan_mark},
    {IoOpcode::kVerify, IoKind::kVerify, Op::kRead, false, Access::kRead, plan_verify},
    {IoOpcode::kCopy, IoKind::kCopy, Op::kRead, true, Access::kWrite, plan_copy},
    {IoOpcode::kReservationRegister, IoKind::kReserve, Op::kFlush, false, Access::kFree,
     plan_reserve},
    {IoOpcode::kReservationReport, IoKind::kReport, Op::kFlush, false, Access::kFree, plan_report},
    {IoOpcode::kReservationAcquire, IoKind::kReserve, Op::kFlush, false, Access::kFree,
     plan_reserve},
    {IoOpcode::kReservationRelease, IoKind::kReserve, Op::kFlush, false, Access::kFree,
     plan_reserve},
};

}  // namespace

std::span<const IoCommand> io_commands() { return kCommands; }

bool changes_blocks(Op op) {
  return op == Op::kWrite || op == Op::kWriteZeroes || op == Op::kDeallocate;
}

Status check_flags(const Sqe& sqe, bool io_queue) {
  if ((sqe.flags & nvme::kPsdtMask) != nvme::kPsdtSgl) return with_dnr(Status::kInvalidField);
  const nvme::Fuse fuse = sqe.fuse();
  if (fuse == nvme::Fuse::kNone) return Status::kSuccess;
  const bool may = io_queue && sqe.opcode != nvme::kFabricsOpcode && fuse != nvme::Fuse::kReserved;
  return may ? Status::kSuccess : with_dnr(Status::kInvalidField);
}

Status plan_io(const Sqe& sqe, const DataBuffers& data, const NamespaceTable& table, IoPlan& plan) {
  plan = {};
  const auto* command = std::ranges::find(kCommands, IoOpcode(sqe.opcode), &IoCommand::opcode);
  if (command == std::end(kCommands)) return with_dnr(Status::kInvalidOpcode);
  plan.kind = command->kind;
  plan.op = command->op;
  plan.access = command->access;
  if (command->opcode == IoOpcode::kFlush && sqe.nsid == nvme::kBroadcastNsid)
    return Status::kSuccess;
  plan.ns = table.find(sqe.nsid);
  if (plan.ns == nullptr) return with_dnr(Status::kInvalidNamespace);
  if (command->changes_content && plan.ns->write_protected()) {
    return with_dnr(Status::kNamespaceWriteProtected);
  }
  // Data in the capsule can only be data of the host.
  if (!data.in_capsule.empty() &&
      (command->kind == IoKind::kRead || command->kind == IoKind::kReport)) {
    return with_dnr(Status::kInvalidField);
  }
  return command->plan(sqe, data, plan);
}

Status plan_range(const nvme_dsm_range& range, const storage::Geometry& geometry, uint64_t& offset,
                  uint64_t& length) {
  IoPlan plan;
  const Status status =
      to_bytes(geometry, nvme::le(uint64_t(range.slba)), nvme::le(uint32_t(range.nlb)), plan);
  offset = plan.offset;
  length = plan.length;
  return status;
}

void copied_range(const nvme_copy_range& range, const storage::Geometry& geometry, uint64_t& offset,
                  uint64_t& length) {
  offset = nvme::le(uint64_t(range.slba)) * geometry.block_size;
  length = (uint64_t(nvme::le(uint16_t(range.nlb))) + 1) * geometry.block_size;
}

Status plan_copied(const Sqe& sqe, std::span<const std::byte> ranges,
                   const storage::Geometry& geometry, IoPlan& plan) {
  const auto range_at = [&](uint32_t i) {
    return nvme::read_struct<nvme_copy_range>(ranges.subspan(i * sizeof(nvme_copy_range)));
  };
  uint64_t blocks = 0;
  for (uint32_t i = 0; i < plan.ranges; ++i) {
    const nvme_copy_range range = range_at(i);
    const uint64_t count = uint64_t(nvme::le(uint16_t(range.nlb))) + 1;
    if (count > most_copied_at_once(geometry.block_size)) {
      return with_dnr(Status::kCommandSizeLimitExceeded);
    }
    IoPlan source;
    const Status s = to_bytes(geometry, nvme::le(uint64_t(range.slba)), count, source);
    if (!ok(s)) return s;
    blocks += count;
  }
  if (blocks > most_copied(geometry.block_size)) {
    return with_dnr(Status::kCommandSizeLimitExceeded);
  }
  if (const Status s = to_bytes(geometry, sqe.slba(), blocks, plan); !ok(s)) return s;
  for (uint32_t i = 0; i < plan.ranges; ++i) {
    uint64_t offset = 0, length = 0;
    copied_range(range_at(i), geometry, offset, length);
    const bool overlaps =
        offset < plan.offset ? plan.offset - offset < length : offset - plan.offset < plan.length;
    if (overlaps) return with_dnr(Status::kOverlappingRange);
  }
  return Status::kSuccess;
}

Status to_status(storage::Error error) {
  switch (error) {
    case storage::Error::kNone:
      return Status::kSuccess;
    case storage::Error::kOutOfRange:
      return with_dnr(Status::kLbaOutOfRange);
    case storage::Error::kMediaRead:
      return Status::kUnrecoveredRead;
    case storage::Error::kMediaWrite:
      return Status::kWriteFault;
    case storage::Error::kNoSpace:
      return with_dnr(Status::kCapacityExceeded);
    case storage::Error::kReadOnly:
      return with_dnr(Status::kNamespaceWriteProtected);
    case storage::Error::kUnsupported:
      return with_dnr(Status::kInvalidOpcode);
    case storage::Error::kNotReady:
      return Status::kNamespaceNotReady;
    case storage::Error::kInaccessible:
      return Status::kInternalPathError;
    case storage::Error::kMarkedBad:
      return with_dnr(Status::kUnrecoveredRead);
    case storage::Error::kMarksFull:
      return with_dnr(Status::kCapacityExceeded);
    case storage::Error::kMarkNotKept:
      return Status::kWriteFault;
    case storage::Error::kInternal:
      return Status::kInternal;
  }
  return Status::kInternal;
}

}  // namespace mrpool::nvmf_target
