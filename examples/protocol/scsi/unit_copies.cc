// EXTENDED COPY and RECEIVE COPY RESULTS at a unit (SPC-4 §6.5, §6.22, §6.23, §6.25).
#include <array>

#include "examples/base/big_endian.h"
#include "examples/protocol/scsi/unit_commands.h"

namespace mrpool::scsi {

Plan LogicalUnit::take_copy_list(const Request& request) {
  const uint32_t length = be::load32(&request.cdb[10]);
  if (length > kCopyHeaderSize + kMaxCopyDescriptors) return check(kParameterListLength);
  return parameters(length);
}

Plan LogicalUnit::copy_later(const ParameterList&) { return {.kind = Plan::Kind::kCopy}; }

Plan LogicalUnit::begin_copy(Nexus& nexus, const Cdb& cdb, std::span<const uint8_t> parameters,
                             CopyRun& run) {
  const uint32_t length = be::load32(&cdb[10]);
  if (length == 0) return good();
  if (parameters.size() < length) return check(kParameterListLength);
  CopyList list;
  if (const auto wrong = parse_copy_list(parameters, list)) return check(*wrong);
  if (copies_.fetch_add(1, std::memory_order_relaxed) >= kMaxCopies) {
    copies_.fetch_sub(1, std::memory_order_relaxed);
    return {.status = Status::kTaskSetFull};
  }
  run = CopyRun(std::move(list));
  if (nexus.copies_.begin(run)) return {.kind = Plan::Kind::kCopy};
  copies_.fetch_sub(1, std::memory_order_relaxed);
  return check(kOperationInProgress);
}

void LogicalUnit::end_copy(Nexus& nexus, const CopyRun& run, const Plan& answer) {
  copies_.fetch_sub(1, std::memory_order_relaxed);
  std::array<uint8_t, kMaxSenseSize> sense;
  const bool checked = answer.status == Status::kCheckCondition;
  const size_t size = checked ? encode(answer.sense, nexus.descriptor_sense(), sense) : 0;
  nexus.copies_.end(run, answer.status, std::span(sense).first(size));
}

Plan LogicalUnit::copy_part(Nexus& nexus, CopySide side, const Range& blocks) {
  const bool writes = side == CopySide::kDestination;
  const Nexus::View& seen = view(nexus);
  const Command as = writes ? Command::kWrite16 : Command::kRead16;
  if (const auto refused = refusal(seen.access, as)) return check(*refused);
  if (!seen.allowed[size_t(writes ? Reserved::kConflict : Reserved::kAllowedAsRead)]) {
    return {.status = Status::kReservationConflict};
  }
  if (seen.stopped) return check(kStopped);
  if (!holds(seen.blocks, blocks.lba, blocks.blocks)) return check(kLbaOutOfRange);
  if (writes && write_protected(nexus)) return check(kWriteProtected);
  return {.kind = writes ? Plan::Kind::kWrite : Plan::Kind::kRead,
          .lba = blocks.lba,
          .blocks = blocks.blocks,
          .fua = writes && write_through(nexus)};
}

Plan LogicalUnit::receive_copy_status(const Request& request) {
  const bool known = request.nexus.copies_.report_status(request.cdb[2], request.data_in);
  return known ? good() : check(kInvalidFieldInCdb.at_cdb(2));
}

Plan LogicalUnit::receive_copy_parameters(const Request& request) {
  request.data_in = copy_operating_parameters();
  return good();
}

Plan LogicalUnit::receive_copy_details(const Request& request) {
  const uint64_t room = be::load32(&request.cdb[10]);
  const bool known = request.nexus.copies_.report_details(request.cdb[2], room, request.data_in);
  return known ? good() : check(kInvalidFieldInCdb.at_cdb(2));
}

}  // namespace mrpool::scsi
