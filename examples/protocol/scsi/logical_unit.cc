#include "examples/protocol/scsi/logical_unit.h"

#include <algorithm>

#include "examples/base/big_endian.h"
#include "examples/protocol/scsi/inquiry.h"

namespace mrpool::scsi {
namespace {

Plan good() { return {}; }
Plan check(const Sense& sense) { return {.status = Status::kCheckCondition, .sense = sense}; }
Plan parameters(uint64_t bytes) { return {.kind = Plan::Kind::kParameters, .data_out = bytes}; }

struct Blocks {
  uint64_t lba = 0;
  uint64_t count = 0;
  uint16_t lba_field = 2;
  uint16_t count_field = 0;
};

// Where the commands that move blocks keep LBA and TRANSFER LENGTH; it follows from the length of
// the CDB (SBC-3 §5).
Blocks blocks_of(const Operation& operation, const Cdb& cdb) {
  switch (operation.length) {
    case 6:
      return {be::load24(&cdb[1]) & 0x1fffff, cdb[4] == 0 ? 256u : cdb[4], 1, 4};
    case 10:
      return {be::load32(&cdb[2]), be::load16(&cdb[7]), 2, 7};
    case 12:
      return {be::load32(&cdb[2]), be::load32(&cdb[6]), 2, 6};
    default:
      return {be::load64(&cdb[2]), be::load32(&cdb[10]), 2, 10};
  }
}

}  // namespace

void Nexus::raise(const Sense& attention) {
  constexpr uint8_t kReset = 0x29;
  const std::lock_guard lock(mutex_);
  if (attention.asc == kReset) attentions_.clear();
  if (std::ranges::find(attentions_, attention) == attentions_.end()) {
    attentions_.push_back(attention);
  }
  stale_.store(true, std::memory_order_release);
}

std::optional<Sense> Nexus::take_attention() {
  const std::lock_guard lock(mutex_);
  if (attentions_.empty()) return std::nullopt;
  const Sense attention = attentions_.front();
  attentions_.erase(attentions_.begin());
  view_.attention = !attentions_.empty();
  return attention;
}

void Nexus::clear(const Sense& attention) {
  const std::lock_guard lock(mutex_);
  std::erase(attentions_, attention);
  view_.attention = !attentions_.empty();
}

std::optional<uint64_t> allocation_length(const Cdb& cdb) {
  switch (cdb[0]) {
    case 0x03:
    case 0x1a:
      return cdb[4];
    case 0x12:
      return be::load16(&cdb[3]);
    case 0x5a:
    case 0x5e:
      return be::load16(&cdb[7]);
    case 0x9e:
      return be::load32(&cdb[10]);
    case 0xa0:
    case 0xa3:
      return be::load32(&cdb[6]);
    default:
      return std::nullopt;
  }
}

LogicalUnit::LogicalUnit(UnitFacts facts, SaveReservations save)
    : facts_(std::move(facts)),
      default_mode_{.write_cache = facts_.volatile_cache},
      save_(std::move(save)),
      mode_(default_mode_),
      reservations_(save_ != nullptr) {}

ModeState LogicalUnit::mode() const {
  const std::lock_guard lock(mutex_);
  return mode_;
}

void LogicalUnit::attach(Nexus& nexus) {
  const std::lock_guard lock(mutex_);
  nexuses_.push_back(&nexus);
  nexus.raise(kPowerOn);
}

void LogicalUnit::detach(Nexus& nexus) {
  const std::lock_guard lock(mutex_);
  std::erase(nexuses_, &nexus);
}

const Nexus::View& LogicalUnit::view(Nexus& nexus) {
  if (!nexus.stale_.load(std::memory_order_acquire)) [[likely]]
    return nexus.view_;
  // The mark goes first: a change after it sets the mark again.
  nexus.stale_.store(false, std::memory_order_relaxed);
  const std::lock_guard lock(mutex_);
  nexus.view_.mode = mode_;
  nexus.view_.stopped = stopped_;
  for (size_t i = 0; i < kReservedClasses; ++i) {
    nexus.view_.allowed[i] = reservations_.allows(nexus.port(), Reserved(i));
  }
  const std::lock_guard inner(nexus.mutex_);
  nexus.view_.attention = !nexus.attentions_.empty();
  return nexus.view_;
}

void LogicalUnit::raise_locked(const Sense& attention, const Nexus* but) {
  for (Nexus* nexus : nexuses_) {
    if (nexus != but) nexus->raise(attention);
  }
}

void LogicalUnit::mark_all_stale() {
  for (Nexus* nexus : nexuses_) nexus->stale_.store(true, std::memory_order_release);
}

void LogicalUnit::raise_for_all(const Sense& attention) {
  const std::lock_guard lock(mutex_);
  raise_locked(attention);
}

void LogicalUnit::reset(const Sense& attention) {
  const std::lock_guard lock(mutex_);
  mode_ = default_mode_;
  stopped_ = false;
  raise_locked(attention);  // and so marks them
}

const Operation* LogicalUnit::supported(const Operation* operation) const {
  if (operation != nullptr && operation->command == Command::kUnmap && !facts_.thin) return nullptr;
  return operation;
}

Plan LogicalUnit::begin(Nexus& nexus, const Cdb& cdb, std::vector<uint8_t>& data_in) {
  data_in.clear();
  const Nexus::View& seen = view(nexus);
  const Operation* operation = supported(find_operation(cdb));
  const Command command = operation != nullptr ? operation->command : Command::kTestUnitReady;
  const bool passes_attention =
      operation != nullptr && (command == Command::kInquiry || command == Command::kReportLuns ||
                               command == Command::kRequestSense);
  if (!passes_attention && seen.attention) {
    if (const auto attention = nexus.take_attention()) return check(*attention);
  }
  if (operation == nullptr) {
    // A known operation code with an unknown service action is a wrong field.
    return check(has_service_actions(cdb[0]) ? kInvalidFieldInCdb.at_cdb(1)
                                             : kInvalidOpcode.at_cdb(0));
  }
  if (!seen.allowed[size_t(operation->reserved)]) {
    return {.status = Status::kReservationConflict};
  }
  if ((cdb[operation->length - 1] & 0x04) != 0) {
    return check(kInvalidFieldInCdb.at_cdb(uint16_t(operation->length - 1)));  // NACA
  }
  if (operation->needs_medium && seen.stopped) return check(kStopped);
  return dispatch(nexus, *operation, cdb, data_in);
}

Plan LogicalUnit::dispatch(Nexus& nexus, const Operation& operation, const Cdb& cdb,
                           std::vector<uint8_t>& data_in) {
  std::optional<Sense> wrong;
  switch (operation.command) {
    case Command::kTestUnitReady:
      return good();
    case Command::kRequestSense:
      return request_sense(nexus, cdb, data_in);
    case Command::kInquiry:
      wrong = inquiry(cdb, facts_, data_in);
      break;
    case Command::kModeSense6:
    case Command::kModeSense10:
      wrong = mode_sense(cdb, facts_, nexus.view_.mode, default_mode_, data_in);
      break;
    case Command::kModeSelect6:
      return parameters(cdb[4]);
    case Command::kModeSelect10:
      return parameters(be::load16(&cdb[7]));
    case Command::kStartStopUnit:
      return start_stop(nexus, cdb);
    case Command::kReadCapacity10:
      return read_capacity(cdb, false, data_in);
    case Command::kReadCapacity16:
      return read_capacity(cdb, true, data_in);
    case Command::kGetLbaStatus:
      return get_lba_status(cdb, data_in);
    case Command::kReportSupportedOpcodes:
      return supported_opcodes(cdb, data_in);
    case Command::kReportSupportedFunctions:
      return supported_functions(cdb, data_in);
    case Command::kPersistentReserveIn: {
      const std::lock_guard lock(mutex_);
      wrong = reservations_.in(cdb, data_in);
      break;
    }
    case Command::kPersistentReserveOut:
      return parameters(be::load32(&cdb[5]));
    case Command::kUnmap:
      if ((cdb[1] & 0x01) != 0) return check(kInvalidFieldInCdb.at_cdb(1));  // ANCHOR
      if (write_protected(nexus)) return check(kWriteProtected);
      return parameters(be::load16(&cdb[7]));
    case Command::kWriteSame10:
    case Command::kWriteSame16:
      return write_same(nexus, operation, cdb);
    case Command::kSynchronizeCache10:
    case Command::kSynchronizeCache16: {
      const Blocks blocks = blocks_of(operation, cdb);
      if (!facts_.holds(blocks.lba, blocks.count)) return check(kLbaOutOfRange.at_cdb(2));
      return {.kind = Plan::Kind::kFlush};
    }
    case Command::kReportLuns:
      // Answered by the target device, which knows the other units.
      return check(kInvalidOpcode.at_cdb(0));
    default:
      return read_write(nexus, operation, cdb);
  }
  return wrong ? check(*wrong) : good();
}

Plan LogicalUnit::read_write(const Nexus& nexus, const Operation& operation, const Cdb& cdb) {
  Blocks blocks = blocks_of(operation, cdb);
  Plan plan{.kind = Plan::Kind::kRead};
  bool writes = false;
  uint64_t sent_blocks = 0;
  uint64_t limit = facts_.max_transfer_blocks;
  switch (operation.command) {
    case Command::kRead6:
    case Command::kRead10:
    case Command::kRead12:
    case Command::kRead16:
      break;
    case Command::kWrite6:
    case Command::kWrite10:
    case Command::kWrite12:
    case Command::kWrite16:
      plan.kind = Plan::Kind::kWrite;
      writes = true;
      sent_blocks = blocks.count;
      break;
    case Command::kWriteVerify10:
    case Command::kWriteVerify12:
    case Command::kWriteVerify16:
      plan.kind = Plan::Kind::kWriteAndVerify;
      writes = true;
      sent_blocks = blocks.count;
      break;
    case Command::kVerify10:
    case Command::kVerify12:
    case Command::kVerify16:
      plan.kind = Plan::Kind::kVerify;
      break;
    default:  // COMPARE AND WRITE has one byte for its length, and both halves travel
      plan.kind = Plan::Kind::kCompareAndWrite;
      blocks.count = cdb[13];
      blocks.count_field = 13;
      writes = true;
      sent_blocks = 2 * blocks.count;
      limit = std::min(kMaxCompareBlocks, facts_.max_transfer_blocks / 2);
      break;
  }
  if (operation.length != 6) {
    if ((cdb[1] & 0xe0) != 0) return check(kInvalidFieldInCdb.at_cdb(1));  // no protection here
    plan.fua = (cdb[1] & 0x08) != 0;
  }
  if (plan.kind == Plan::Kind::kVerify || plan.kind == Plan::Kind::kWriteAndVerify) {
    plan.fua = plan.kind == Plan::Kind::kWriteAndVerify;  // verified on the medium, not in a cache
    const uint8_t byte_check = cdb[1] >> 1 & 3;
    if (byte_check > 1) return check(kInvalidFieldInCdb.at_cdb(1));
    plan.compare = byte_check == 1;
    if (plan.kind == Plan::Kind::kVerify && plan.compare) sent_blocks = blocks.count;
  }
  if (!facts_.holds(blocks.lba, blocks.count)) {
    return check(kLbaOutOfRange.at_cdb(blocks.lba_field));
  }
  if (blocks.count > limit) return check(kInvalidFieldInCdb.at_cdb(blocks.count_field));
  if (writes && write_protected(nexus)) return check(kWriteProtected);
  if (blocks.count == 0) return good();
  if (writes && write_through(nexus)) plan.fua = true;
  plan.lba = blocks.lba;
  plan.blocks = blocks.count;
  plan.data_out = sent_blocks * facts_.block_size;
  return plan;
}

Plan LogicalUnit::write_same(const Nexus& nexus, const Operation& operation, const Cdb& cdb) {
  const Blocks blocks = blocks_of(operation, cdb);
  const bool no_data = operation.command == Command::kWriteSame16 && (cdb[1] & 0x01) != 0;
  const bool unmap_bit = (cdb[1] & 0x08) != 0;
  // WRPROTECT, ANCHOR, PBDATA, LBDATA.
  if ((cdb[1] & 0xf6) != 0) return check(kInvalidFieldInCdb.at_cdb(1));
  if (unmap_bit && !facts_.thin) return check(kInvalidFieldInCdb.at_cdb(1));
  if (!facts_.holds(blocks.lba, blocks.count)) return check(kLbaOutOfRange.at_cdb(2));
  if (blocks.count == 0 || blocks.count > kMaxWriteSameBlocks) {  // WSNZ
    return check(kInvalidFieldInCdb.at_cdb(blocks.count_field));
  }
  if (write_protected(nexus)) return check(kWriteProtected);
  return {.kind = no_data ? Plan::Kind::kZero : Plan::Kind::kWriteSame,
          .lba = blocks.lba,
          .blocks = blocks.count,
          .data_out = no_data ? 0 : facts_.block_size,
          .fua = write_through(nexus),
          .deallocate = unmap_bit};
}

Plan LogicalUnit::start_stop(Nexus& nexus, const Cdb& cdb) {
  const bool start = (cdb[4] & 0x01) != 0;
  if ((cdb[4] >> 4) != 0) return check(kInvalidFieldInCdb.at_cdb(4));    // power conditions
  if ((cdb[4] & 0x02) != 0) return check(kInvalidFieldInCdb.at_cdb(4));  // nothing to eject
  {
    const std::lock_guard lock(mutex_);
    // Starting is allowed under anybody's reservation, stopping is not.
    if (!start && !reservations_.allows(nexus.port(), Reserved::kConflict)) {
      return {.status = Status::kReservationConflict};
    }
    stopped_ = !start;
    mark_all_stale();
  }
  // NO_FLUSH clear: what is in the cache goes to the medium first.
  if (!start && (cdb[4] & 0x04) == 0) return {.kind = Plan::Kind::kFlush};
  return good();
}

Plan LogicalUnit::read_capacity(const Cdb& cdb, bool sixteen, std::vector<uint8_t>& data_in) {
  const size_t pmi = sixteen ? 14 : 8;
  const uint64_t lba = sixteen ? be::load64(&cdb[2]) : be::load32(&cdb[2]);
  if ((cdb[pmi] & 0x01) == 0 && lba != 0) return check(kInvalidFieldInCdb.at_cdb(2));
  if (!sixteen) {
    data_in.resize(8);
    be::store32(&data_in[0], uint32_t(std::min<uint64_t>(facts_.last_block(), 0xffffffff)));
    be::store32(&data_in[4], facts_.block_size);
    return good();
  }
  data_in.resize(32);
  be::store64(&data_in[0], facts_.last_block());
  be::store32(&data_in[8], facts_.block_size);
  if (facts_.thin) data_in[14] = 0xc0;  // LBPME, LBPRZ
  return good();
}

Plan LogicalUnit::get_lba_status(const Cdb& cdb, std::vector<uint8_t>& data_in) {
  const uint64_t lba = be::load64(&cdb[2]);
  if (lba >= facts_.blocks) return check(kLbaOutOfRange.at_cdb(2));
  // The storage does not tell holes from data: every block is reported as mapped.
  data_in.resize(24);
  be::store32(&data_in[0], 20);
  be::store64(&data_in[8], lba);
  be::store32(&data_in[16], uint32_t(std::min<uint64_t>(facts_.blocks - lba, 0xffffffff)));
  return good();
}

Plan LogicalUnit::request_sense(Nexus& nexus, const Cdb& cdb, std::vector<uint8_t>& data_in) {
  const Sense sense = nexus.take_attention().value_or(nexus.view_.stopped ? kStopped : kNoSense);
  std::array<uint8_t, kMaxSenseSize> bytes;
  const size_t size = encode(sense, (cdb[1] & 0x01) != 0, bytes);
  data_in.assign(bytes.begin(), bytes.begin() + ptrdiff_t(size));
  return good();
}

Plan LogicalUnit::supported_opcodes(const Cdb& cdb, std::vector<uint8_t>& data_in) {
  const uint8_t option = cdb[2] & 0x07;
  const bool timeouts = (cdb[2] & 0x80) != 0;  // RCTD
  const uint8_t opcode = cdb[3];
  const uint16_t service_action = be::load16(&cdb[4]);
  constexpr size_t kTimeoutDescriptor = 12;  // all zero: no timeout is recommended
  const auto append_timeouts = [&] {
    data_in.push_back(0);
    data_in.push_back(uint8_t(kTimeoutDescriptor - 2));
    data_in.resize(data_in.size() + kTimeoutDescriptor - 2);
  };
  if (option == 0) {
    data_in.assign(4, 0);
    for (const Operation& operation : operations()) {
      if (supported(&operation) == nullptr) continue;
      std::array<uint8_t, 8> descriptor{};
      descriptor[0] = operation.opcode;
      if (operation.service_action >= 0) {
        be::store16(&descriptor[2], uint16_t(operation.service_action));
        descriptor[5] |= 0x01;  // SERVACTV
      }
      if (timeouts) descriptor[5] |= 0x02;  // CTDP
      be::store16(&descriptor[6], operation.length);
      data_in.insert(data_in.end(), descriptor.begin(), descriptor.end());
      if (timeouts) append_timeouts();
    }
    be::store32(data_in.data(), uint32_t(data_in.size() - 4));
    return good();
  }
  if (option > 3) return check(kInvalidFieldInCdb.at_cdb(2));
  const bool with_actions = has_service_actions(opcode);
  // 1 asks for an operation code without service actions, 2 for one with them (SPC-4 §6.32.1).
  if (option == 1 && with_actions) return check(kInvalidFieldInCdb.at_cdb(2));
  if (option == 2 && knows_opcode(opcode) && !with_actions) {
    return check(kInvalidFieldInCdb.at_cdb(2));
  }
  const Operation* operation =
      supported(find_operation(opcode, with_actions ? int(service_action) : -1));
  data_in.assign(4, 0);
  if (operation == nullptr) {
    data_in[1] = 0x01;  // not supported
    return good();
  }
  data_in[1] = 0x03 | (timeouts ? 0x80 : 0);  // as the standard has it
  be::store16(&data_in[2], operation->length);
  data_in.insert(data_in.end(), operation->usage.begin(),
                 operation->usage.begin() + operation->length);
  if (timeouts) append_timeouts();
  return good();
}

// What management.cc of the target does (SPC-4 §6.36).
Plan LogicalUnit::supported_functions(const Cdb& cdb, std::vector<uint8_t>& data_in) {
  constexpr uint8_t kAbortTask = 0x80, kAbortTaskSet = 0x40, kClearTaskSet = 0x10,
                    kLogicalUnitReset = 0x08, kTargetReset = 0x02;
  constexpr size_t kShort = 4, kLong = 16;
  const bool extended = (cdb[2] & 0x80) != 0;  // REPD: with the times they take
  if (be::load32(&cdb[6]) < kShort) return check(kInvalidFieldInCdb.at_cdb(6));
  data_in.assign(extended ? kLong : kShort, 0);  // no times are recommended
  data_in[0] = kAbortTask | kAbortTaskSet | kClearTaskSet | kLogicalUnitReset | kTargetReset;
  if (extended) data_in[3] = kLong - kShort;
  return good();
}

Plan LogicalUnit::finish(Nexus& nexus, const Cdb& cdb, std::span<const uint8_t> list,
                         std::vector<Range>& ranges) {
  switch (cdb[0]) {
    case 0x15:
    case 0x55:
      return select_mode(nexus, cdb, list);
    case 0x5f:
      return {.kind = Plan::Kind::kReserve};
    default:
      return unmap(nexus, list, ranges);
  }
}

Plan LogicalUnit::select_mode(const Nexus& nexus, const Cdb& cdb, std::span<const uint8_t> list) {
  const std::lock_guard lock(mutex_);
  const ModeState before = mode_;
  if (const auto wrong = mode_select(cdb, list, facts_, mode_)) return check(*wrong);
  if (mode_ != before) {
    raise_locked(kModeParametersChanged, &nexus);
    mark_all_stale();
  }
  // Whoever knows the cache to be off sends no SYNCHRONIZE CACHE for what lies in it.
  if (before.write_cache && !mode_.write_cache) return {.kind = Plan::Kind::kFlush};
  return good();
}

LogicalUnit::ReserveAnswer LogicalUnit::reserve_out(const std::string& port, const Cdb& cdb,
                                                    std::span<const uint8_t> list) {
  const std::lock_guard one(reserving_);
  Reservations next = [this] {
    const std::lock_guard lock(mutex_);
    return reservations_;
  }();
  const bool kept_before = next.aptpl();
  Reservations::Outcome outcome = next.out(port, cdb, list);
  const Plan answer{.status = outcome.status, .sense = outcome.sense};
  if (!outcome.changed) return {.plan = answer};
  // What must survive power loss is durable before anybody hears of it.
  if (save_ != nullptr && (next.aptpl() || kept_before) && !save_(next.serialize()).ok()) {
    return {.plan = check(kInternalFailure)};
  }
  const std::lock_guard lock(mutex_);
  reservations_ = std::move(next);
  for (const Reservations::Notice& notice : outcome.notices) {
    for (Nexus* other : nexuses_) {
      if (other->port() == notice.port) other->raise(notice.attention);
    }
  }
  mark_all_stale();
  return {.plan = answer, .preempted = std::move(outcome.abort_tasks_of)};
}

Plan LogicalUnit::unmap(const Nexus& nexus, std::span<const uint8_t> list,
                        std::vector<Range>& ranges) {
  ranges.clear();
  if (list.empty()) return good();
  if (list.size() < 8) return check(kParameterListLength);
  const size_t described = be::load16(&list[2]);
  const size_t present = std::min(described, list.size() - 8) / 16;
  if (present > kMaxUnmapDescriptors) return check(kInvalidFieldInParameters.at_parameter(2));
  uint64_t total = 0;
  for (size_t i = 0; i < present; ++i) {
    const uint8_t* descriptor = &list[8 + 16 * i];
    const Range range{be::load64(descriptor), be::load32(descriptor + 8)};
    if (!facts_.holds(range.lba, range.blocks)) return check(kLbaOutOfRange);
    total += range.blocks;
    if (total > kMaxUnmapBlocks) {
      return check(kInvalidFieldInParameters.at_parameter(uint16_t(8 + 16 * i + 8)));
    }
    if (range.blocks != 0) ranges.push_back(range);
  }
  if (ranges.empty()) return good();
  return {.kind = Plan::Kind::kUnmap, .fua = write_through(nexus)};
}

}  // namespace mrpool::scsi
