#include "examples/nvmf/target/io_command.h"

#include "examples/nvmf/target/limits.h"

namespace mrpool::nvmf_target {

using nvme::IoOpcode;
using nvme::Sqe;
using nvme::Status;
using nvme::with_dnr;

namespace {

// Blocks to bytes; by subtraction, because slba is the host's number.
Status to_bytes(const storage::Geometry& geometry, uint64_t slba, uint64_t blocks, IoPlan& plan) {
  if (slba > geometry.blocks || blocks > geometry.blocks - slba) {
    return with_dnr(Status::kLbaOutOfRange);
  }
  plan.offset = slba * geometry.block_size;
  plan.length = blocks * geometry.block_size;
  return Status::kSuccess;
}

// Bits 18 of SGLS is clear: an SGL describes exactly what the command moves.
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

Status plan_zeroes(const Sqe& sqe, IoPlan& plan) {
  plan.kind = IoKind::kSimple;
  plan.op = storage::Op::kWriteZeroes;
  plan.fua = (sqe.cdw12 & nvme::kCdw12Fua) != 0;
  plan.deallocate = (sqe.cdw12 & nvme::kCdw12Deallocate) != 0;
  return to_bytes(plan.ns->volume->geometry(), sqe.slba(), sqe.blocks(), plan);
}

Status plan_dataset(const Sqe& sqe, const DataBuffers& data, IoPlan& plan) {
  constexpr uint32_t kDeallocateAttribute = 1u << 2;
  constexpr uint32_t kMaxRanges = 256;
  plan.kind = IoKind::kRanges;
  plan.op = storage::Op::kDeallocate;
  plan.deallocate = (sqe.cdw11 & kDeallocateAttribute) != 0;
  plan.ranges = (sqe.cdw10 & 0xff) + 1;
  // Linux sends a whole page for however few ranges, so that devices may read it all.
  if (data.length < plan.ranges * sizeof(nvme_dsm_range) ||
      data.length > kMaxRanges * sizeof(nvme_dsm_range)) {
    return with_dnr(Status::kSglDataLength);
  }
  plan.data_length = uint32_t(data.length);
  return Status::kSuccess;
}

}  // namespace

Status check_flags(const Sqe& sqe) {
  if ((sqe.flags & nvme::kFuseMask) != 0 || (sqe.flags & nvme::kPsdtMask) != nvme::kPsdtSgl) {
    return with_dnr(Status::kInvalidField);
  }
  return Status::kSuccess;
}

Status plan_io(const Sqe& sqe, const DataBuffers& data, const NamespaceTable& table, IoPlan& plan) {
  plan = {};
  const auto opcode = IoOpcode(sqe.opcode);
  switch (opcode) {
    case IoOpcode::kFlush:
    case IoOpcode::kWrite:
    case IoOpcode::kRead:
    case IoOpcode::kCompare:
    case IoOpcode::kWriteZeroes:
    case IoOpcode::kDatasetManagement:
      break;
    default:
      return with_dnr(Status::kInvalidOpcode);
  }
  if (opcode == IoOpcode::kFlush) {
    plan.kind = IoKind::kSimple;
    plan.op = storage::Op::kFlush;
    if (sqe.nsid == nvme::kBroadcastNsid) return Status::kSuccess;
  }
  plan.ns = table.find(sqe.nsid);
  if (plan.ns == nullptr) return with_dnr(Status::kInvalidNamespace);
  const bool writes = opcode == IoOpcode::kWrite || opcode == IoOpcode::kWriteZeroes ||
                      opcode == IoOpcode::kDatasetManagement;
  if (writes && plan.ns->volume->geometry().read_only) {
    return with_dnr(Status::kNamespaceWriteProtected);
  }
  // Data in the capsule can only go one way.
  if (!data.in_capsule.empty() && opcode == IoOpcode::kRead) {
    return with_dnr(Status::kInvalidField);
  }
  switch (opcode) {
    case IoOpcode::kFlush:
      return Status::kSuccess;
    case IoOpcode::kRead:
      plan.kind = IoKind::kRead;
      plan.op = storage::Op::kRead;
      return plan_transfer(sqe, data, plan);
    case IoOpcode::kWrite:
      plan.kind = IoKind::kWrite;
      plan.op = storage::Op::kWrite;
      return plan_transfer(sqe, data, plan);
    case IoOpcode::kCompare:
      plan.kind = IoKind::kCompare;
      plan.op = storage::Op::kRead;
      return plan_transfer(sqe, data, plan);
    case IoOpcode::kWriteZeroes:
      return plan_zeroes(sqe, plan);
    case IoOpcode::kDatasetManagement:
      return plan_dataset(sqe, data, plan);
  }
  return with_dnr(Status::kInvalidOpcode);
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
    case storage::Error::kInternal:
      return Status::kInternal;
  }
  return Status::kInternal;
}

}  // namespace mrpool::nvmf_target
