// A SCSI command from its PDU to its response. The steps of a Task, in order: it receives
// unsolicited data, makes the plan, takes staging memory, fetches solicited data, executes on
// storage, and sends the answer.
#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "examples/base/big_endian.h"
#include "examples/engine/io_accounts.h"
#include "examples/iser/target/connection.h"
#include "examples/protocol/scsi/target_device.h"
#include "mrpool/internal/probe.h"

namespace mrpool::iser_target {
namespace {

using Kind = scsi::Plan::Kind;
using State = Task::State;

constexpr uint8_t kReportLuns = 0xa0;
constexpr uint8_t kCompareAndWrite = 0x89;

std::span<const std::byte, iscsi::kBhsSize> bhs_of(std::span<const std::byte> message) {
  return message.subspan<iscsi::kIserHeaderSize, iscsi::kBhsSize>();
}

}  // namespace

// Callbacks of parts of tasks, which have no pointer to the connection.
struct ConnectionCallbacks {
  static void released(engine::HeldCommand& self) {
    Task& task = static_cast<Task::Held&>(self).task;
    task.connection->released(task);
  }
  static void executed(Execution& self) {
    Task& task = static_cast<Task::Work&>(self).task;
    task.connection->executed(task);
  }
  static void copy_on(mrpool::Task& self) {
    Task& task = static_cast<Task::Again&>(self).task;
    task.connection->copy_on(task);
  }
};

Task::Callbacks task_callbacks() {
  return {&ConnectionCallbacks::executed, &ConnectionCallbacks::released,
          &ConnectionCallbacks::copy_on};
}

Task* Connection::find(uint32_t task_tag) {
  const auto found = std::ranges::find_if(active_, [&](const Task* task) {
    return task->pdu.task_tag == task_tag && task->state != State::kResponding && !task->late;
  });
  return found == active_.end() ? nullptr : *found;
}

// --- Arrival ---

bool Connection::command(std::span<std::byte> message, void* receive) {
  const auto pdu = iscsi::ScsiCommand::decode(bhs_of(message));
  const auto refuse = [&](std::string_view why) {
    violation(iscsi::RejectReason::kProtocolError, message, why);
    return false;
  };
  switch (order(pdu.cmd_sn, pdu.immediate)) {
    case Order::kIgnore:
      return false;
    case Order::kBroken:
      drop("a gap in CmdSN");
      return false;
    case Order::kTake:
      break;
  }
  if (find(pdu.task_tag) != nullptr) {
    reject(iscsi::RejectReason::kTaskInProgress, message);
    return false;
  }
  // Checks RFC 7143 §11.3 and the negotiated parameters.
  if (!pdu.write && (pdu.data_length != 0 || !pdu.final)) {
    return refuse("unsolicited data with a command that writes nothing");
  }
  if (pdu.data_length != 0 && !parameters_.immediate_data) {
    return refuse("immediate data against the negotiation");
  }
  if (!pdu.final && parameters_.initial_r2t) {
    return refuse("unsolicited Data-Out announced against InitialR2T");
  }
  if (pdu.data_length > std::min(parameters_.first_burst, pdu.expected_length)) {
    return refuse("more immediate data than FirstBurstLength or the command allow");
  }
  Task* task = link_.take_task();
  if (task == nullptr) {
    drop("more commands than the window allows");
    return false;
  }
  if (!pdu.immediate) ++outstanding_;
  ++worker_.counters.commands;
  active_.push_back(task);
  task->connection = this;
  task->aborted = task->tell_abort = task->waited = false;
  task->passed = 0;
  task->pdu = pdu;
  task->iser = iscsi::IserControl::decode(message.first<iscsi::kIserHeaderSize>());
  take_unit(*task);
  task->piece_count = 0;
  task->unsolicited = 0;
  task->data_sn = 0;
  task->transfer = 0;
  task->residual = iscsi::Residual::kNone;
  task->residual_count = 0;
  task->chunk_count = 0;
  task->staged = 0;
  task->vector_count = 0;
  bool kept = false;
  if (pdu.data_length != 0) {
    const size_t offset = kHeaders + size_t{pdu.ahs_words} * 4;
    task->pieces[task->piece_count++] = {receive, message.subspan(offset, pdu.data_length)};
    task->unsolicited = pdu.data_length;
    kept = true;
  }
  if (!pdu.final) {
    task->state = State::kUnsolicited;
    return kept;
  }
  data_complete(*task);
  return kept;
}

// Assigns the unit of the command's LUN and counts the command there.
void Connection::take_unit(Task& task) {
  task.handle = find_unit(task.pdu.lun);
  task.account = nullptr;
  task.storage_failed = false;
  if (task.handle == nullptr) return;
  ++task.handle->users;
  if (target_ == nullptr) return;
  if (task.handle->account == nullptr) {
    task.handle->account = link_.account(login_.identity().initiator, target_->name(),
                                         *scsi::decode_lun(task.pdu.lun));
  }
  task.account = task.handle->account;
  task.began = link_.now();
  MRPOOL_PROBE3(command_begin, &task, uint32_t(task.pdu.cdb[0]),
                uint32_t(*scsi::decode_lun(task.pdu.lun)));
}

void Connection::leave_unit(Task& task) {
  if (task.handle != nullptr && --task.handle->users == 0 && !leaving_.empty()) let_go_of_units();
  task.handle = nullptr;
}

// Counts a command that is being answered. Commands that the device server answers itself, such as
// INQUIRY, are not I/O.
void Connection::settle(Task& task) {
  engine::IoAccount* const account = std::exchange(task.account, nullptr);
  if (account == nullptr) return;
  MRPOOL_PROBE2(command_end, &task, uint32_t(task.plan.status));
  if (task.plan.status != scsi::Status::kGood) return account->failed(task.storage_failed);
  if (task.plan.kind == Kind::kDone) return;
  const bool writes =
      task.pdu.write && task.plan.kind != Kind::kUnmap && task.plan.kind != Kind::kCopy;
  account->count(task.plan.kind == Kind::kRead ? engine::IoClass::kRead
                 : writes                      ? engine::IoClass::kWrite
                                               : engine::IoClass::kOther,
                 task.copy != nullptr ? task.copy->run.copied() : task.transfer,
                 link_.now() - task.began);
}

bool Connection::data_out(std::span<std::byte> message, void* receive) {
  const auto pdu = iscsi::DataOut::decode(bhs_of(message));
  if (pdu.transfer_tag != iscsi::kReservedTag) {
    violation(iscsi::RejectReason::kProtocolError, message, "a Data-Out that answers no R2T");
    return false;
  }
  Task* task = find(pdu.task_tag);
  if (task == nullptr || task->aborted) return false;  // for a task that was aborted meanwhile
  if (task->state != State::kUnsolicited || pdu.buffer_offset != task->unsolicited ||
      pdu.data_sn != task->data_sn || task->piece_count == kMaxPieces ||
      pdu.data_length >
          std::min(parameters_.first_burst, task->pdu.expected_length) - task->unsolicited) {
    violation(iscsi::RejectReason::kProtocolError, message,
              "unsolicited data out of order or beyond FirstBurstLength");
    return false;
  }
  bool kept = false;
  ++task->data_sn;
  if (pdu.data_length != 0) {
    const iscsi::CommonHeader header = iscsi::decode_common(bhs_of(message));
    task->pieces[task->piece_count++] = {
        receive, message.subspan(kHeaders + header.ahs_bytes(), pdu.data_length)};
    task->unsolicited += pdu.data_length;
    kept = true;
  }
  if (pdu.final) data_complete(*task);
  return kept;
}

// All unsolicited data has arrived: the device server makes the plan.
void Connection::data_complete(Task& task) {
  plan_command(task);
  if (task.plan.kind == Kind::kDone) {
    task.plan.status == scsi::Status::kGood && !task.data_in.empty() ? data_in_ready(task)
                                                                     : respond(task);
    return;
  }
  if (limited(task) && held_back(task)) [[unlikely]]
    return;
  stage(task);
}

void Connection::plan_command(Task& task) {
  constexpr uint8_t kExtendedCdb = 0x7f;
  task.data_in.clear();
  const iscsi::ScsiCommand& pdu = task.pdu;
  if (pdu.cdb[0] == kReportLuns) {
    // REPORT LUNS clears the attention about changed LUNs on every unit.
    if (task.handle != nullptr) {
      for (const auto& [lun, unit] : units_) unit->nexus.clear(scsi::kLunsChanged);
    }
    task.plan = scsi::report_luns(pdu.cdb, table_->luns, task.data_in);
  } else if (task.handle == nullptr) {
    task.plan = scsi::without_unit(pdu.cdb, task.data_in);
  } else if (pdu.read && pdu.write) {
    task.plan =
        check(scsi::kInvalidFieldInCdb);  // no supported command transfers data in both directions
  } else if (pdu.cdb[0] == kExtendedCdb) {
    task.plan = check(scsi::kInvalidOpcode.at_cdb(0));
  } else {
    task.plan = task.handle->logical().begin(task.handle->nexus, pdu.cdb, task.data_in);
  }
  if (const auto room = scsi::allocation_length(pdu.cdb); room && *room < task.data_in.size()) {
    task.data_in.resize(*room);
  }
  if (task.plan.data_out != 0 || task.pdu.write) settle_data_out(task);
}

// Compares the length of the command with the data of the initiator (RFC 7143 §11.4.5).
void Connection::settle_data_out(Task& task) {
  const uint64_t offered = task.pdu.write ? task.pdu.expected_length : 0;
  const uint64_t wanted = task.plan.data_out;
  task.transfer = std::min(offered, wanted);
  if (task.plan.kind == Kind::kDone) {
    // No data was used, and the residual of a failed command reports this.
    task.transfer = 0;
  }
  if (offered > wanted) {
    task.residual = iscsi::Residual::kUnderflow;
    task.residual_count = uint32_t(offered - wanted);
    if (task.pdu.cdb[0] == kCompareAndWrite && task.plan.status == scsi::Status::kGood) {
      // 256 blocks do not fit in the one byte of the CDB; GOOD would hide that nothing was written.
      task.plan = check(scsi::kInvalidFieldInCdb.at_cdb(13));
      task.transfer = 0;
    }
  } else if (wanted > offered) {
    task.residual = iscsi::Residual::kOverflow;
    task.residual_count = uint32_t(std::min<uint64_t>(wanted - offered, 0xffffffff));
    const uint32_t block = task.handle->facts().block_size;
    if (task.plan.kind == Kind::kWrite || task.plan.kind == Kind::kWriteAndVerify) {
      // Writes the blocks that arrived completely.
      task.plan.blocks = offered / block;
      task.transfer = task.plan.blocks * block;
      if (task.plan.blocks == 0) task.plan = {};
    } else if (task.plan.kind != Kind::kParameters) {
      // A partial comparison or pattern has no meaning.
      task.plan = check(scsi::kInvalidFieldInCdb);
      task.transfer = 0;
    }
  }
  if (task.plan.kind == Kind::kParameters && task.transfer > kMaxTransfer) {
    task.plan = check(scsi::kParameterListLength);
    task.transfer = 0;
  }
}

// --- Data to the target ---

void Connection::stage(Task& task) {
  const iscsi::ScsiCommand& pdu = task.pdu;
  if (task.plan.kind == Kind::kRead) {
    // The initiator's buffer may be smaller than the command's length.
    const uint32_t block = task.handle->facts().block_size;
    const uint64_t length = task.plan.blocks * block;
    const uint64_t room = pdu.read ? pdu.expected_length : 0;
    task.transfer = std::min(length, room);
    if (length > room) {
      task.residual = iscsi::Residual::kOverflow;
      task.residual_count = uint32_t(length - room);
      task.plan.blocks = (room + block - 1) / block;
    } else if (room > length) {
      task.residual = iscsi::Residual::kUnderflow;
      task.residual_count = uint32_t(room - length);
    }
    if (task.transfer == 0) return respond(task);
    task.staged = task.plan.blocks * block;
  } else {
    // Pieces stay in their receive buffers if storage can use them there: whole pages before the
    // fetched data. Otherwise they are copied to staging memory.
    bool in_place = task.plan.kind != Kind::kParameters;
    const uint64_t unsolicited = std::min<uint64_t>(task.unsolicited, task.transfer);
    for (uint32_t i = 0; i < task.piece_count; ++i) {
      const bool last = i + 1 == task.piece_count && unsolicited == task.transfer;
      if (!last && task.pieces[i].data.size() % kPage != 0) in_place = false;
    }
    task.staged = in_place ? task.transfer - unsolicited : task.transfer;
    task.fetch_offset = in_place ? 0 : unsolicited;
    if (task.transfer > unsolicited && !task.iser.write_valid) {
      drop("a command with solicited data and no key to fetch it by");
      return finish(task);
    }
  }
  if (task.staged == 0) return staged(task);
  task.state = State::kWaiting;
  if (link_.take_chunks(task, task.staged)) staged(task);
}

void Connection::chunks_ready(Task& task) { staged(task); }

void Connection::staged(Task& task) {
  if (task.plan.kind == Kind::kDone) return data_in_staged(task);
  if (task.copy != nullptr) return copy_on(task);
  task.vector_count = 0;
  const uint64_t unsolicited = std::min<uint64_t>(task.unsolicited, task.transfer);
  const bool moves = task.staged != 0 && task.fetch_offset != 0;
  if (task.plan.kind != Kind::kRead) {
    uint64_t at = 0;
    for (uint32_t i = 0; i < task.piece_count && at < unsolicited; ++i) {
      std::span<std::byte> data = task.pieces[i].data;
      data = data.first(std::min<uint64_t>(data.size(), unsolicited - at));
      if (!moves) {
        task.vectors[task.vector_count++] = {data.data(), data.size()};
        at += data.size();
        continue;
      }
      while (!data.empty()) {
        const std::span<std::byte> to = link_.chunk(task.chunks[at / kChunk]).subspan(at % kChunk);
        const size_t n = std::min(to.size(), data.size());
        std::memcpy(to.data(), data.data(), n);
        data = data.subspan(n);
        at += n;
      }
    }
  }
  uint64_t left = task.staged;
  for (uint32_t i = 0; i < task.chunk_count; ++i) {
    const uint64_t n = std::min<uint64_t>(left, kChunk);
    task.vectors[task.vector_count++] = {link_.chunk(task.chunks[i]).data(), n};
    left -= n;
  }
  if (task.plan.kind != Kind::kRead && task.transfer > unsolicited) {
    task.state = State::kFetching;
    uint64_t va = task.iser.write_va;
    // By default the initiator's key starts after the unsolicited data.
    if (parameters_.tagged_solicited_only == false) va += task.unsolicited;
    const RemoteBuffer from{
        .addr = {va}, .length = task.transfer - unsolicited, .rkey = {task.iser.write_stag}};
    if (!link_.fetch(task, from, task.fetch_offset)) finish(task);
    return;
  }
  execute(task);
}

void Connection::fetched(Task& task, bool success) {
  if (!success) task.aborted = true;  // the connection is ending
  if (task.aborted) return finish(task);
  execute(task);
}

// --- Work ---

void Connection::execute(Task& task) {
  if (task.plan.kind == Kind::kParameters) {
    const auto* list =
        task.vector_count == 0 ? nullptr : static_cast<const uint8_t*>(task.vectors[0].iov_base);
    std::vector<uint8_t> gathered;
    if (task.vector_count > 1) {
      for (uint32_t i = 0; i < task.vector_count; ++i) {
        const auto* bytes = static_cast<const uint8_t*>(task.vectors[i].iov_base);
        gathered.insert(gathered.end(), bytes, bytes + task.vectors[i].iov_len);
      }
      list = gathered.data();
    }
    const std::span<const uint8_t> parameters(list, task.transfer);
    task.plan =
        task.handle->logical().finish(task.handle->nexus, task.pdu.cdb, parameters, task.ranges);
    if (task.plan.kind == Kind::kReserve) return reserve(task, parameters);
    if (task.plan.kind == Kind::kCopy) return begin_copy(task, parameters);
    if (task.plan.kind == Kind::kDone) return respond(task);
  }
  task.state = State::kExecuting;
  Store* const store = store_of(*task.handle);
  if (store == nullptr) {
    task.plan = check(scsi::kNotReady);
    return respond(task);
  }
  const std::span<const iovec> vectors(task.vectors.data(), task.vector_count);
  link_.executing(task);
  if (task.work.start(*store, task.plan, vectors, task.ranges)) executed(task);
}

Store* Connection::store_of(UnitHandle& handle) {
  if (handle.store != nullptr) [[likely]]
    return handle.store.get();
  absl::StatusOr<std::shared_ptr<Store>> store = worker_.store(handle.unit);
  if (!store.ok()) {
    const std::string& spec = handle.unit->volume->spec();
    site_.log({.event = base::Event::kStoreUnavailable,
               .store = spec,
               .message = absl::StrCat(spec, ": ", store.status().message())});
    return nullptr;
  }
  handle.store = *std::move(store);
  return handle.store.get();
}

// PERSISTENT RESERVE OUT. Its change may have to be made durable first, on another thread; the task
// is in the state executing meanwhile.
void Connection::reserve(Task& task, std::span<const uint8_t> parameters) {
  task.state = State::kExecuting;
  const std::shared_ptr<Unit> unit = task.handle->unit;
  if (!unit->logical.may_block()) {
    return reserved(task, unit->logical.reserve_out(port_, task.pdu.cdb, parameters));
  }
  site_.state_thread()->run([this, &task, &worker = worker_, unit, port = port_, cdb = task.pdu.cdb,
                             list = std::vector<uint8_t>(parameters.begin(), parameters.end())] {
    worker.post([this, &task, answer = unit->logical.reserve_out(port, cdb, list)] {
      reserved(task, answer);
    });
  });
}

void Connection::reserved(Task& task, const scsi::LogicalUnit::ReserveAnswer& answer) {
  task.plan = answer.plan;
  // Tasks of preempted ports end first, even if this task has ended meanwhile.
  const auto drain = std::make_shared<Drain>(worker_, [this, alive = alive_, &task] {
    if (!*alive) return;
    task.aborted || phase_ == Phase::kClosed ? finish(task) : respond(task);
  });
  for (const std::string& port : answer.preempted) {
    abort_everywhere({.unit = task.handle->unit}, drain, port);
  }
}

void Connection::executed(Task& task) {
  link_.executed(task);
  const bool good = task.work.status() == scsi::Status::kGood;
  // Another program has shrunk the store: notifies its initiators now, not at the next check, even
  // if this connection has ended.
  if (!good && task.work.sense() == scsi::kLbaOutOfRange) {
    const UnitHandle* const at =
        task.copy != nullptr ? task.copy->side(task.copy->at).handle : task.handle;
    Unit& unit = *at->unit;
    unit.logical.resize(unit.volume->geometry().blocks);
  }
  if (task.copy != nullptr) return copied_side(task);
  if (task.aborted || phase_ == Phase::kClosed) return finish(task);
  const scsi::Plan::Kind kind = task.plan.kind;
  if (!good) {
    task.storage_failed = task.work.sense() != scsi::kMiscompare;
    task.plan = {.status = task.work.status(), .sense = task.work.sense()};
    return respond(task);
  }
  if (kind == Kind::kRead) {
    ++worker_.counters.reads;
    worker_.counters.bytes_read += task.transfer;
  } else {
    ++worker_.counters.writes;
    worker_.counters.bytes_written += task.transfer;
  }
  respond(task);
}

// Data that the device server generated is sent from staging memory, because that is registered.
void Connection::data_in_ready(Task& task) {
  const uint64_t room = task.pdu.read ? task.pdu.expected_length : 0;
  const uint64_t length = task.data_in.size();
  task.transfer = std::min(length, room);
  if (length > room) {
    task.residual = iscsi::Residual::kOverflow;
    task.residual_count = uint32_t(length - room);
  } else if (room > length) {
    task.residual = iscsi::Residual::kUnderflow;
    task.residual_count = uint32_t(room - length);
  }
  if (task.transfer == 0) return respond(task);
  task.staged = task.transfer;
  task.state = State::kWaiting;
  if (link_.take_chunks(task, task.staged)) data_in_staged(task);
}

void Connection::data_in_staged(Task& task) {
  for (uint64_t at = 0; at < task.staged; at += kChunk) {
    const size_t n = std::min<uint64_t>(kChunk, task.staged - at);
    std::memcpy(link_.chunk(task.chunks[at / kChunk]).data(), task.data_in.data() + at, n);
  }
  respond(task);
}

// --- The answer ---

std::optional<Rkey> Connection::key_to_invalidate(const Task& task) const {
  if (!link_.remote_invalidation()) return std::nullopt;
  if (task.iser.read_valid) return Rkey{task.iser.read_stag};
  // Linux sends a key of zero with commands whose data is all immediate.
  if (task.iser.write_valid && task.iser.write_stag != 0) return Rkey{task.iser.write_stag};
  return std::nullopt;
}

void Connection::respond(Task& task) {
  settle(task);
  if (task.copy != nullptr) end_copy(task);
  const scsi::Plan& plan = task.plan;
  const bool good = plan.status == scsi::Status::kGood;
  const bool moves_in = good && task.transfer != 0 && !task.pdu.write;
  if (!good) {
    task.transfer = 0;
    // No data of the read was transferred, independent of its lengths.
    if (!task.pdu.write) task.residual = iscsi::Residual::kNone;
    if (task.pdu.expected_length != 0 && task.residual == iscsi::Residual::kNone) {
      task.residual = iscsi::Residual::kUnderflow;
      task.residual_count = task.pdu.expected_length;
    }
    if (plan.status == scsi::Status::kCheckCondition) ++worker_.counters.check_conditions;
  } else if (task.residual == iscsi::Residual::kNone && !task.pdu.write && !moves_in &&
             task.pdu.expected_length != 0) {
    task.residual = iscsi::Residual::kUnderflow;
    task.residual_count = task.pdu.expected_length;
  }
  iscsi::ScsiResponse response{.status = uint8_t(plan.status),
                               .residual = task.residual,
                               .residual_count = task.residual_count,
                               .task_tag = task.pdu.task_tag};
  const std::span<std::byte> out(task.response);
  task.response_size = kHeaders;
  if (plan.status == scsi::Status::kCheckCondition) {
    std::array<uint8_t, scsi::kMaxSenseSize> sense;
    const bool descriptor = task.handle != nullptr && task.handle->nexus.descriptor_sense();
    const size_t size = scsi::encode(plan.sense, descriptor, sense);
    be::store16(&out[kHeaders], uint16_t(size));
    std::memcpy(&out[kHeaders + 2], sense.data(), size);
    response.data_length = uint32_t(2 + size);
    const size_t padding = (4 - response.data_length % 4) % 4;
    std::memset(&out[kHeaders + response.data_length], 0, padding);
    task.response_size += uint32_t(response.data_length + padding);
  }
  iscsi::IserControl{}.encode(out.first<iscsi::kIserHeaderSize>());
  // The answer frees the command's place in the window. Its receives are released before, because
  // the next command needs one. A late command keeps both.
  if (!task.late) release_pieces(task);
  if (!task.pdu.immediate && !task.late) --outstanding_;
  response.window = window();
  response.encode(out.subspan<iscsi::kIserHeaderSize, iscsi::kBhsSize>());
  task.state = State::kResponding;
  // Releases staging memory before the answer, so that a slow initiator delays only itself.
  if (!moves_in && task.chunk_count != 0 && !task.late) link_.give_chunks(task);
  const std::optional<Rkey> invalidate = key_to_invalidate(task);
  if (moves_in) {
    if (!task.iser.read_valid) {
      drop("a read without a key to write to");
      return end(task);
    }
    const RemoteBuffer to{
        .addr = {task.iser.read_va}, .length = task.transfer, .rkey = {task.iser.read_stag}};
    if (!link_.push(task, to, invalidate)) end(task);
  } else if (!link_.respond(task, invalidate)) {
    end(task);
  }
}

void Connection::sent(Task& task) { end(task); }

// The task was aborted, or its connection has ended.
void Connection::finish(Task& task) {
  if (std::exchange(task.late, false)) {
    if (!task.pdu.immediate) --outstanding_;
    if (task.state != State::kResponding) end(task);  // else its answer is still being sent
    return;
  }
  if (task.tell_abort && phase_ == Phase::kFullFeature) {
    task.tell_abort = false;
    ++worker_.counters.aborted;
    task.plan = {.status = scsi::Status::kTaskAborted};
    // The task has ended; drains do not wait for its initiator.
    const std::vector<std::shared_ptr<Drain>> drains = std::move(task.drains);
    task.drains.clear();
    return respond(task);
  }
  if (!task.pdu.immediate && task.state != State::kResponding) --outstanding_;
  ++worker_.counters.aborted;
  end(task);
}

void Connection::release_pieces(Task& task) {
  for (uint32_t i = 0; i < task.piece_count; ++i) link_.release_receive(task.pieces[i].receive);
  task.piece_count = 0;
}

void Connection::end(Task& task) {
  if (task.late) {  // answered, but storage still works on it
    task.state = State::kLate;
    return;
  }
  release_pieces(task);
  if (task.chunk_count != 0) link_.give_chunks(task);
  if (task.copy != nullptr) {
    end_copy(task);
    let_go_of_sides(*task.copy);
    task.copy.reset();
  }
  task.state = State::kFree;
  std::erase(active_, &task);
  if (phase_ == Phase::kClosed && idle() && target_ != nullptr) {
    std::erase(target_->sessions(worker_.index()).ending, this);
  }
  leave_unit(task);
  // Drains are released last, because their callbacks may end this connection.
  const std::vector<std::shared_ptr<Drain>> drains = std::move(task.drains);
  task.drains.clear();
  link_.release(task);
}

void Connection::abort_tasks(const TaskFilter& which, const std::shared_ptr<Drain>& drain,
                             Answer answer) {
  const std::vector<Task*> snapshot = active_;
  for (Task* task : snapshot) {
    if (task->state == State::kFree || task->late) continue;
    const bool matches = which.matches(*task);
    if (!matches && !which.concerns_copy(*task)) continue;
    if (drain != nullptr) task->drains.push_back(drain);
    // A task that was aborted without an answer keeps that decision.
    const bool silent = task->aborted && !task->tell_abort;
    task->tell_abort = (answer == Answer::kTaskAborted || !matches) && !silent;
    if (!task->aborted) task->abort_asked = link_.now();
    switch (task->state) {
      case State::kWaiting:
        link_.cancel_chunks(*task);
        task->aborted = true;
        finish(*task);
        break;
      case State::kHeld:
        stop_waiting(*task);
        [[fallthrough]];
      case State::kUnsolicited:
        task->aborted = true;
        finish(*task);
        break;
      case State::kExecuting:
        task->aborted = true;
        aborts_wait_ = true;
        if (task->work.take_back()) executed(*task);
        break;
      default:
        // The task ends when its transfer has ended.
        task->aborted = true;
        break;
    }
  }
}

// Limits the time for which the end of a task waits for storage.
void Connection::give_up_late_tasks() {
  if (!aborts_wait_) return;
  aborts_wait_ = false;
  const std::vector<Task*> snapshot = active_;
  for (Task* task : snapshot) {
    if (!task->aborted || task->late || task->state != State::kExecuting) continue;
    if (link_.now() - task->abort_asked <= engine::kAbortPatience) {
      aborts_wait_ = true;
    } else {
      give_up(*task);
    }
  }
}

// Ends the task while storage still works on it. Storage keeps its memory, and its blocks stay
// locked until storage has answered.
void Connection::give_up(Task& task) {
  if (task.work.take_back()) return executed(task);
  task.work.give_up();
  task.late = true;
  ++worker_.counters.aborted;
  if (std::exchange(task.tell_abort, false) && phase_ == Phase::kFullFeature) {
    task.plan = {.status = scsi::Status::kTaskAborted};
    respond(task);
  }
  // Their callbacks may end this connection.
  const std::vector<std::shared_ptr<Drain>> drains = std::exchange(task.drains, {});
}

}  // namespace mrpool::iser_target
