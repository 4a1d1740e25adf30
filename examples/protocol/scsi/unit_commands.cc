// What a logical unit does for each command. kHandlers is the table of them; with the table of
// opcodes.cc it is all that dispatch, reservation checks and REPORT SUPPORTED OPERATION CODES need.
// To add a command: its row there, its row here, and the member it names.
#include "examples/protocol/scsi/unit_commands.h"

#include <algorithm>
#include <iterator>

#include "examples/base/big_endian.h"
#include "examples/protocol/scsi/inquiry.h"

namespace mrpool::scsi {

constexpr LogicalUnit::Handler LogicalUnit::kHandlers[] = {
    {Command::kTestUnitReady, &LogicalUnit::test_unit_ready, nullptr},
    {Command::kRequestSense, &LogicalUnit::request_sense, nullptr},
    {Command::kInquiry, &LogicalUnit::answer_inquiry, nullptr},
    {Command::kModeSelect6, &LogicalUnit::take_list6, &LogicalUnit::select_mode},
    {Command::kModeSelect10, &LogicalUnit::take_list10, &LogicalUnit::select_mode},
    {Command::kModeSense6, &LogicalUnit::answer_mode_sense, nullptr},
    {Command::kModeSense10, &LogicalUnit::answer_mode_sense, nullptr},
    {Command::kStartStopUnit, &LogicalUnit::start_stop, nullptr},
    {Command::kReadCapacity10, &LogicalUnit::read_capacity10, nullptr},
    {Command::kReadCapacity16, &LogicalUnit::read_capacity16, nullptr},
    {Command::kRead6, &LogicalUnit::read, nullptr},
    {Command::kRead10, &LogicalUnit::read, nullptr},
    {Command::kRead12, &LogicalUnit::read, nullptr},
    {Command::kRead16, &LogicalUnit::read, nullptr},
    {Command::kWrite6, &LogicalUnit::write, nullptr},
    {Command::kWrite10, &LogicalUnit::write, nullptr},
    {Command::kWrite12, &LogicalUnit::write, nullptr},
    {Command::kWrite16, &LogicalUnit::write, nullptr},
    {Command::kWriteVerify10, &LogicalUnit::write_and_verify, nullptr},
    {Command::kWriteVerify12, &LogicalUnit::write_and_verify, nullptr},
    {Command::kWriteVerify16, &LogicalUnit::write_and_verify, nullptr},
    {Command::kVerify10, &LogicalUnit::verify, nullptr},
    {Command::kVerify12, &LogicalUnit::verify, nullptr},
    {Command::kVerify16, &LogicalUnit::verify, nullptr},
    {Command::kSynchronizeCache10, &LogicalUnit::synchronize_cache, nullptr},
    {Command::kSynchronizeCache16, &LogicalUnit::synchronize_cache, nullptr},
    {Command::kWriteLong10, &LogicalUnit::write_long, nullptr},
    {Command::kWriteLong16, &LogicalUnit::write_long, nullptr},
    {Command::kWriteSame10, &LogicalUnit::write_same, nullptr},
    {Command::kWriteSame16, &LogicalUnit::write_same, nullptr},
    {Command::kUnmap, &LogicalUnit::take_unmap_list, &LogicalUnit::unmap},
    {Command::kCompareAndWrite, &LogicalUnit::compare_and_write, nullptr},
    {Command::kGetLbaStatus, &LogicalUnit::get_lba_status, nullptr},
    {Command::kReportLuns, &LogicalUnit::not_here, nullptr},
    {Command::kReportSupportedOpcodes, &LogicalUnit::supported_opcodes, nullptr},
    {Command::kReportSupportedFunctions, &LogicalUnit::supported_functions, nullptr},
    {Command::kPersistentReserveIn, &LogicalUnit::reserve_in, nullptr},
    {Command::kPersistentReserveOut, &LogicalUnit::take_reserve_list,
     &LogicalUnit::reserve_out_later},
    {Command::kReportPortGroups, &LogicalUnit::report_groups, nullptr},
    {Command::kSetPortGroups, &LogicalUnit::take_groups_list, &LogicalUnit::set_groups},
    {Command::kExtendedCopy, &LogicalUnit::take_copy_list, &LogicalUnit::copy_later},
    {Command::kReceiveCopyStatus, &LogicalUnit::receive_copy_status, nullptr},
    {Command::kReceiveCopyParameters, &LogicalUnit::receive_copy_parameters, nullptr},
    {Command::kReceiveCopyDetails, &LogicalUnit::receive_copy_details, nullptr},
};

const LogicalUnit::Handler& LogicalUnit::handler_of(Command command) {
  static_assert(std::ranges::is_sorted(kHandlers, {}, &Handler::command));
  static_assert(std::size(kHandlers) == kCommands, "a row for every command");
  return kHandlers[size_t(command)];
}

Plan LogicalUnit::test_unit_ready(const Request&) { return good(); }

Plan LogicalUnit::answer_inquiry(const Request& request) {
  const auto wrong = inquiry(request.cdb, facts_, request.data_in);
  return wrong ? check(*wrong) : good();
}

Plan LogicalUnit::request_sense(const Request& request) {
  Nexus& nexus = request.nexus;
  const Sense refused = refusal(nexus.view_.access, Command::kTestUnitReady).value_or(kNoSense);
  const Sense sense = nexus.take_attention().value_or(nexus.view_.stopped ? kStopped : refused);
  std::array<uint8_t, kMaxSenseSize> bytes;
  const size_t size = encode(sense, (request.cdb[1] & 0x01) != 0, bytes);
  request.data_in.assign(bytes.begin(), bytes.begin() + ptrdiff_t(size));
  return good();
}

Plan LogicalUnit::start_stop(const Request& request) {
  const Cdb& cdb = request.cdb;
  const bool start = (cdb[4] & 0x01) != 0;
  if ((cdb[4] >> 4) != 0) return check(kInvalidFieldInCdb.at_cdb(4));    // power conditions
  if ((cdb[4] & 0x02) != 0) return check(kInvalidFieldInCdb.at_cdb(4));  // nothing to eject
  {
    const std::lock_guard lock(mutex_);
    // Starting is allowed under anybody's reservation, stopping is not.
    if (!start && !reservations_.allows(request.nexus.port(), Reserved::kConflict)) {
      return {.status = Status::kReservationConflict};
    }
    stopped_ = !start;
    mark_all_stale();
  }
  // NO_FLUSH clear: what is in the cache goes to the medium first.
  if (!start && (cdb[4] & 0x04) == 0) return {.kind = Plan::Kind::kFlush};
  return good();
}

Plan LogicalUnit::read_capacity10(const Request& request) {
  const uint64_t lba = be::load32(&request.cdb[2]);
  const bool partial = (request.cdb[8] & 0x01) != 0;  // PMI
  if (!partial && lba != 0) return check(kInvalidFieldInCdb.at_cdb(2));
  const uint64_t blocks = request.nexus.view_.blocks;
  if (blocks == 0) return check(kNotReady);  // there is no last block
  request.data_in.resize(8);
  be::store32(&request.data_in[0], uint32_t(std::min<uint64_t>(blocks - 1, 0xffffffff)));
  be::store32(&request.data_in[4], facts_.block_size);
  return good();
}

Plan LogicalUnit::read_capacity16(const Request& request) {
  const uint64_t lba = be::load64(&request.cdb[2]);
  const bool partial = (request.cdb[14] & 0x01) != 0;  // PMI
  if (!partial && lba != 0) return check(kInvalidFieldInCdb.at_cdb(2));
  const uint64_t blocks = request.nexus.view_.blocks;
  if (blocks == 0) return check(kNotReady);
  request.data_in.resize(32);
  be::store64(&request.data_in[0], blocks - 1);
  be::store32(&request.data_in[8], facts_.block_size);
  if (facts_.thin) request.data_in[14] = 0xc0;  // LBPME, LBPRZ
  return good();
}

Plan LogicalUnit::get_lba_status(const Request& request) {
  std::vector<uint8_t>& data_in = request.data_in;
  const uint64_t lba = be::load64(&request.cdb[2]);
  const uint64_t blocks = request.nexus.view_.blocks;
  if (lba >= blocks) return check(kLbaOutOfRange.at_cdb(2));
  // The storage does not distinguish holes from data: every block is reported as mapped.
  data_in.resize(24);
  be::store32(&data_in[0], 20);
  be::store64(&data_in[8], lba);
  be::store32(&data_in[16], uint32_t(std::min<uint64_t>(blocks - lba, 0xffffffff)));
  return good();
}

Plan LogicalUnit::answer_mode_sense(const Request& request) {
  UnitFacts facts = facts_;
  facts.blocks = request.nexus.view_.blocks;
  const auto wrong =
      mode_sense(request.cdb, facts, request.nexus.view_.mode, default_mode_, request.data_in);
  return wrong ? check(*wrong) : good();
}

Plan LogicalUnit::take_list6(const Request& request) { return parameters(request.cdb[4]); }

Plan LogicalUnit::take_list10(const Request& request) {
  return parameters(be::load16(&request.cdb[7]));
}

Plan LogicalUnit::select_mode(const ParameterList& list) {
  const std::lock_guard lock(mutex_);
  const ModeState before = mode_;
  if (const auto wrong = mode_select(list.cdb, list.bytes, facts_, mode_)) return check(*wrong);
  if (mode_ != before) {
    raise_locked(kModeParametersChanged, &list.nexus);
    mark_all_stale();
  }
  // An initiator that finds the cache off sends no SYNCHRONIZE CACHE for its contents.
  if (before.write_cache && !mode_.write_cache) return {.kind = Plan::Kind::kFlush};
  return good();
}

Plan LogicalUnit::reserve_in(const Request& request) {
  const std::lock_guard lock(mutex_);
  const auto wrong = reservations_.in(request.cdb, request.data_in);
  return wrong ? check(*wrong) : good();
}

Plan LogicalUnit::take_reserve_list(const Request& request) {
  return parameters(be::load32(&request.cdb[5]));
}

Plan LogicalUnit::reserve_out_later(const ParameterList&) { return {.kind = Plan::Kind::kReserve}; }

Plan LogicalUnit::report_groups(const Request& request) {
  const std::lock_guard lock(mutex_);
  const auto wrong =
      report_port_groups(request.cdb, facts_, access_, access_change_, request.data_in);
  return wrong ? check(*wrong) : good();
}

Plan LogicalUnit::take_groups_list(const Request& request) {
  return parameters(be::load32(&request.cdb[6]));
}

Plan LogicalUnit::set_groups(const ParameterList& list) {
  const PortGroupRequest request = parse_port_groups(list.bytes, facts_);
  if (request.wrong) return check(*request.wrong);
  if (request.state) set_access(*request.state, AccessChange::kByCommand, &list.nexus);
  return good();
}

// REPORT LUNS is answered by the target device, which knows the other units.
Plan LogicalUnit::not_here(const Request&) { return check(kInvalidOpcode.at_cdb(0)); }

}  // namespace mrpool::scsi
