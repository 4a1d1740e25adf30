// The processing of I/O commands: data from the host, storage, data to the host.
#include <algorithm>
#include <cstring>
#include <utility>

#include "examples/nvmf/target/queue.h"
#include "mrpool/internal/probe.h"

namespace mrpool::nvmf_target {

using nvme::Status;
using nvme::with_dnr;

// Namespaces.

// Updates the table from the subsystem; true if it changed.
bool Queue::refresh_namespaces() {
  if (controller_->subsystem().version() == table_version_) return false;
  release_handles();
  table_ = controller_->namespaces();
  table_version_ = table_->version;
  const AnaStates access = controller_->access(*table_);
  for (const Namespace& ns : table_->namespaces) {
    Handle handle;
    handle.channel = context_.channels.get(link_.device(), ns.volume);
    if (handle.channel != nullptr) {
      ++handle.channel->handles;
      handle.memory = handle.channel->memory[link_.device()].get();
    }
    handle.flow = context_.staging.flow(link_.share(), ns.volume.get());
    handle.path = path_status(access[ns.ana_group]);
    take_limits(handle, ns);
    handles_.push_back(std::move(handle));
  }
  return true;
}

void Queue::release_handles() {
  for (Handle& handle : handles_) {
    if (handle.channel != nullptr) --handle.channel->handles;
    leaving_.push_back(std::move(handle.flow));
  }
  std::erase_if(leaving_, [](const auto& flow) { return flow->users() == 0; });
  handles_.clear();
}

// True if the host's command is for this store, not for an earlier store with the same nsid.
bool Queue::meant(const Namespace& ns) {
  Handle& handle = handles_[size_t(&ns - table_->namespaces.data())];
  if (!handle.meant) handle.meant = controller_->means(ns);
  return handle.meant;
}

// Not success: ANA refuses commands on this path.
Status Queue::path_to(const Namespace& ns) const {
  return handles_[size_t(&ns - table_->namespaces.data())].path;
}

Status Queue::path_to_all() const {
  const auto refused =
      std::ranges::find_if(handles_, [](const Handle& each) { return !ok(each.path); });
  return refused == handles_.end() ? Status::kSuccess : refused->path;
}

engine::IoAccount* Queue::account_of(const Namespace& ns) {
  Handle& handle = handles_[size_t(&ns - table_->namespaces.data())];
  if (handle.account == nullptr) {
    std::shared_ptr<engine::IoAccount>& account = accounts_[ns.nsid];
    if (account == nullptr) {
      account = context_.accounts.open(context_.worker, controller_->identity().host_nqn,
                                       controller_->subsystem().nqn, ns.nsid);
    }
    handle.account = account.get();
  }
  return handle.account;
}

// Counts an I/O command that is being answered.
void Queue::settle(Command& command, Status status) {
  engine::IoAccount& account = *std::exchange(command.account, nullptr);
  MRPOOL_PROBE2(command_end, &command, uint32_t(code(status)));
  if (!ok(status)) return account.failed(command.io.error != storage::Error::kNone);
  const IoPlan& plan = command.plan;
  const bool reads =
      plan.kind == IoKind::kRead || plan.kind == IoKind::kCompare || plan.kind == IoKind::kVerify;
  account.count(reads                         ? engine::IoClass::kRead
                : plan.kind == IoKind::kWrite ? engine::IoClass::kWrite
                                              : engine::IoClass::kOther,
                plan.length, link_.now() - command.began);
}

bool Queue::use_channel(Command& command, const Namespace& ns) {
  const Handle& handle = handles_[size_t(&ns - table_->namespaces.data())];
  if (handle.channel == nullptr) return false;
  command.channel = handle.channel;
  command.flow = handle.flow.get();
  ++handle.channel->uses;
  command.gather = nullptr;
  command.can_gather = handle.memory != nullptr;
  if (command.can_gather) command.gather_key = handle.memory->lkey();
  return true;
}

// Commands.

void Queue::dispatch_io(Command& command) {
  refresh_namespaces();
  if (command.sqe.fuse() != nvme::Fuse::kNone) [[unlikely]]
    return dispatch_fused(command);
  if (const Status s = plan(command); !ok(s)) return respond(command, s);
  if (command.plan.ns == nullptr) return next_flush(command);
  if (held_back(command, *command.plan.ns)) [[unlikely]]
    return;
  if (!begin(command)) return respond(command, Status::kNamespaceNotReady);
  start_io(command);
}

// What the command does, or the status that refuses it.
Status Queue::plan(Command& command) {
  const Status planned = plan_io(command.sqe, command.data, *table_, command.plan);
  // Checked first, because another store may also have other block sizes and limits.
  const Namespace* const ns = command.plan.ns;
  if (ns != nullptr && !meant(*ns)) return with_dnr(Status::kInvalidNamespace);
  const Status path = ns != nullptr ? path_to(*ns) : ok(planned) ? path_to_all() : Status::kSuccess;
  if (!ok(path)) [[unlikely]] {
    ++counters_->path_errors;
    return path;
  }
  if (!ok(planned)) return planned;
  if (ns == nullptr) {
    return flush_allowed() ? Status::kSuccess : with_dnr(Status::kReservationConflict);
  }
  if (const uint64_t held = ns->reservations->held(); held != 0) [[unlikely]] {
    if (!reservation_allows(*ns, held, command.plan.access)) {
      return with_dnr(Status::kReservationConflict);
    }
  }
  return Status::kSuccess;
}

// False: its store cannot be used.
bool Queue::begin(Command& command) {
  const Namespace& ns = *command.plan.ns;
  command.account = account_of(ns);
  command.began = link_.now();
  MRPOOL_PROBE3(command_begin, &command, uint32_t(command.sqe.opcode), ns.nsid);
  command.io.error = storage::Error::kNone;
  if (!use_channel(command, ns)) return false;
  if (!controller_->write_cache()) command.plan.fua = true;
  return true;
}

void Queue::start_io(Command& command) {
  const uint32_t chunks = engine::chunks_for(command.plan.data_length);
  switch (command.plan.kind) {
    case IoKind::kRead:
      return start_read(command);
    case IoKind::kWrite:
      return start_write(command);
    case IoKind::kCompare: {
      const bool fetches = command.data.remote();
      command.read_back = fetches ? uint64_t{chunks} * engine::kChunk : 0;
      if (!take_staging(command, *command.flow, fetches ? 2 * chunks : chunks)) return;
      return fetches ? fetch(command) : store(command);
    }
    case IoKind::kRanges:
    case IoKind::kReserve:
      if (!command.data.remote()) return fetched(command);
      if (take_staging(command, *command.flow, chunks)) fetch(command);
      return;
    case IoKind::kVerify:
      if (take_staging(command, *command.flow, engine::chunks_for(command.plan.length))) {
        store(command);
      }
      return;
    case IoKind::kCopy:
      if (!take_staging(command, *command.flow, 1)) return;
      return command.data.remote() ? fetch(command) : fetched(command);
    case IoKind::kReport:
      return report_reservations(command);
    case IoKind::kSimple:
    case IoKind::kMark:
      return store(command);
    case IoKind::kFormat:  // of the admin queue
      return;
  }
}

void Queue::start_read(Command& command) {
  const bool in_place = command.can_gather && gathered_ + command.plan.length <= kMaxGathered;
  std::byte* const place =
      in_place ? command.channel->volume->locate(command.plan.offset, command.plan.length)
               : nullptr;
  if (place != nullptr) {
    command.gather = place;
    command.io.op = storage::Op::kHold;
    command.io.offset = command.plan.offset;
    command.io.length = command.plan.length;
    return submit(command);
  }
  if (take_staging(command, *command.flow, engine::chunks_for(command.plan.data_length))) {
    store(command);
  }
}

void Queue::start_write(Command& command) {
  const std::span<const std::byte> inside = command.data.in_capsule;
  if (!command.data.remote()) {
    const uint32_t alignment = command.channel->volume->geometry().buffer_alignment;
    if (reinterpret_cast<uintptr_t>(inside.data()) % alignment == 0) return store(command);
  }
  if (!take_staging(command, *command.flow, engine::chunks_for(command.plan.data_length))) return;
  command.data.remote() ? fetch(command) : store(command);
}

// Holds.

void Queue::hold(Command& command) {
  command.holding = true;
  command.held_since = ticked_;
  gathered_ += command.io.length;
}

void Queue::let_go(Command& command) {
  command.holding = false;
  gathered_ -= command.io.length;
  command.channel->channel->release(command.io);
}

// A host may read slowly, unless writers wait for the blocks.
bool Queue::keeps_writers_waiting(Nanoseconds now) const {
  if (gathered_ == 0) return false;
  return std::ranges::any_of(commands_, [&](const auto& command) {
    return command->holding && now - command->held_since > kGatherPatience &&
           command->channel->channel->wanted(command->io);
  });
}

// Staging memory.

bool Queue::take_staging(Command& command, engine::StagingFlow& flow, uint32_t chunks) {
  if (context_.staging.take(command.staging, flow, chunks)) return true;
  command.stage = Stage::kStaging;
  return false;
}

// `command` waited for staging memory and has it now.
void Queue::staged(Command& command) {
  if (command.purpose == Purpose::kReply) return send_reply(command);
  if (command.purpose == Purpose::kProof) return fetch(command);
  if (command.partner != nullptr) return fetch_pair(command);
  const bool fetches =
      command.data.remote() && command.plan.data_length != 0 && command.plan.kind != IoKind::kRead;
  if (fetches) return fetch(command);
  command.plan.kind == IoKind::kCopy ? fetched(command) : store(command);
}

// The staging memory that has the command's data: a fused operation uses that of its Write.
const engine::StagingClaim& Queue::memory_of(const Command& command) {
  const bool first = command.partner != nullptr && command.sqe.fuse() == nvme::Fuse::kFirst;
  return first ? command.partner->staging : command.staging;
}

std::span<const iovec> Queue::scatter(Command& command, uint64_t offset, uint64_t bytes) {
  const size_t count = context_.staging.vectors(command.staging, offset, bytes, command.iov);
  return {command.iov.data(), count};
}

size_t Queue::local_sges(const Command& command, uint64_t offset, uint64_t length,
                         std::span<Sge> out) const {
  if (command.gather == nullptr) {
    return context_.staging.sges(memory_of(command), command.data_at + offset, length,
                                 link_.staging_key(), out);
  }
  out[0] = {const_cast<std::byte*>(command.gather) + offset, uint32_t(length), command.gather_key};
  return 1;
}

// The host's data from `offset` on, up to the end of the contiguous part.
std::span<const std::byte> Queue::host_data(const Command& command, uint64_t offset) const {
  if (!command.data.remote()) return command.data.in_capsule.subspan(size_t(offset));
  const uint64_t left = command.data.length - offset;
  return {context_.staging.at(memory_of(command), command.data_at + offset),
          size_t(std::min<uint64_t>(left, engine::kChunk - offset % engine::kChunk))};
}

// Data from the host.

void Queue::fetch(Command& command) {
  command.stage = Stage::kFetching;
  command.descriptor = 0;
  command.moved = 0;
  fetch_next(command);
}

void Queue::fetch_next(Command& command) {
  while (command.descriptor < command.data.count) {
    const RemoteBuffer remote = command.data.remote(command.descriptor);
    if (remote.length == 0) {
      ++command.descriptor;
      continue;
    }
    if (!fetch_from(command, remote)) transfer_failed(command);
    return;
  }
  fetched(command);
}

bool Queue::fetch_from(Command& command, const RemoteBuffer& remote) {
  if (command.purpose == Purpose::kConnect) {
    return link_.read_early(command, uint32_t(command.moved), remote);
  }
  std::array<Sge, engine::kMaxChunks> sges;
  const size_t n = local_sges(command, command.moved, remote.length, sges);
  return link_.read(command, {sges.data(), n}, remote);
}

void Queue::fetched(Command& command) {
  if (command.aborted) return respond(command, Status::kAbortRequested);
  if (!ok(command.taken)) return respond(command, command.taken);
  if (command.partner != nullptr) return pair_fetched(command);
  if (command.purpose == Purpose::kConnect) return connect(command);
  if (command.purpose == Purpose::kProof) return take_proof(command);
  if (command.plan.kind == IoKind::kRanges) return next_range(command);
  if (command.plan.kind == IoKind::kReserve) return reserve(command);
  if (command.plan.kind == IoKind::kCopy) return start_copy(command);
  store(command);
}

void Queue::transferred(engine::Exchange& exchange, bool success) {
  Command& command = static_cast<Command&>(exchange);
  if (!success) return transfer_failed(command);
  command.moved += command.data.remote(command.descriptor).length;
  ++command.descriptor;
  command.stage == Stage::kFetching ? fetch_next(command) : send_next(command);
}

void Queue::transfer_failed(Command& command) {
  if (link_.closing() || !link_.connected()) return finish(command);
  respond(command, Status::kDataTransferError);
}

// Storage.

// Starts the storage request; all its data has arrived.
void Queue::store(Command& command) {
  storage::Io& io = command.io;
  const IoPlan& plan = command.plan;
  io.op = plan.op;
  io.fua = plan.fua;
  io.deallocate = plan.deallocate;
  io.offset = plan.offset;
  io.length = plan.length;
  io.buffers = {};
  if (plan.op == storage::Op::kRead) {
    io.buffers = scatter(command, command.read_back, plan.length);
  } else if (plan.kind == IoKind::kWrite) {
    if (command.data.remote()) {
      io.buffers = scatter(command, 0, plan.length);
    } else {
      const std::span<const std::byte> inside = command.data.in_capsule;
      if (command.staging.held() != 0) {  // badly aligned for the backend
        io.buffers = scatter(command, 0, plan.length);
        std::copy(inside.begin(), inside.end(), static_cast<std::byte*>(command.iov[0].iov_base));
      } else {
        command.iov[0] = {const_cast<std::byte*>(inside.data()), inside.size()};
        io.buffers = {command.iov.data(), 1};
      }
    }
  }
  submit(command);
}

void Queue::submit(Command& command) {
  if (hand_over(command)) stored(command);
}

void Queue::stored(Command& command) {
  if (command.clears_marks && !change_marks(command)) [[unlikely]]
    return;
  context_.staging.leave_store(command.staging);
  const storage::Error error = command.io.error;
  if (command.io.op == storage::Op::kHold && error == storage::Error::kNone) hold(command);
  // Another program has shrunk the store: notifies its hosts now, not at the next check, even if
  // this queue has ended.
  if (error == storage::Error::kOutOfRange) context_.target.refresh_sizes();
  if (command.late) return late_stored(command);
  if (command.partner != nullptr) [[unlikely]] {
    return link_.closed() ? finish(command) : pair_stored(command);
  }
  if (command.gated) leave_gate(command);
  if (command.plan.kind == IoKind::kCopy) {
    return link_.closed() ? finish(command) : part_stored(command);
  }
  // Nothing more goes to the storage. The host may be slow to take its answer.
  if (command.plan.kind != IoKind::kRanges || !ok(command.taken)) command.fences.clear();
  if (link_.closed()) return finish(command);
  if (error != storage::Error::kNone) return respond(command, to_status(error));
  const IoPlan& plan = command.plan;
  switch (plan.kind) {
    case IoKind::kRead:
      ++counters_->reads;
      counters_->bytes_read += plan.length;
      return send_data(command);
    case IoKind::kWrite:
      ++counters_->writes;
      counters_->bytes_written += plan.length;
      return respond(command, Status::kSuccess);
    case IoKind::kCompare:
      return finish_compare(command);
    case IoKind::kVerify:
      ++counters_->reads;
      counters_->bytes_read += plan.length;
      return respond(command, Status::kSuccess);
    case IoKind::kRanges:
      return next_range(command);
    case IoKind::kCopy:
    case IoKind::kReserve:
    case IoKind::kReport:  // nothing of the storage
      return;
    case IoKind::kFormat:
      return format_next(command);
    case IoKind::kMark:
      return respond(command, Status::kSuccess);
    case IoKind::kSimple:
      if (plan.ns == nullptr) return next_flush(command);
      return respond(command, Status::kSuccess);
  }
}

void Queue::finish_compare(Command& command) {
  ++counters_->reads;
  counters_->bytes_read += command.plan.length;
  for (uint64_t at = 0; at < command.plan.length; at += engine::kChunk) {
    const size_t n = std::min<uint64_t>(command.plan.length - at, engine::kChunk);
    const std::byte* stored = context_.staging.at(command.staging, command.read_back + at);
    if (std::memcmp(host_data(command, at).data(), stored, n) != 0) {
      return respond(command, with_dnr(Status::kCompareFailure));
    }
  }
  respond(command, Status::kSuccess);
}

// Dataset Management: checks all ranges before the first is executed, then executes them one at a
// time.
void Queue::next_range(Command& command) {
  const storage::Geometry& geometry = command.channel->volume->geometry();
  const uint32_t count = command.plan.ranges;
  const std::span<const std::byte> data = host_data(command, 0);
  const auto range = [&](uint32_t i) {
    return nvme::read_struct<nvme_dsm_range>(data.subspan(i * sizeof(nvme_dsm_range)));
  };
  uint64_t offset = 0;
  uint64_t length = 0;
  if (command.step == 0) {
    for (uint32_t i = 0; i < count; ++i) {
      if (const Status s = plan_range(range(i), geometry, offset, length); !ok(s)) {
        return respond(command, s);
      }
    }
  }
  while (command.plan.deallocate && command.step < count) {
    if (!ok(command.taken)) return respond(command, command.taken);
    (void)plan_range(range(command.step++), geometry, offset, length);
    if (length == 0) continue;
    command.plan.offset = offset;
    command.plan.length = length;
    storage::Io& io = command.io;
    io.op = storage::Op::kDeallocate;
    io.fua = false;
    io.offset = offset;
    io.length = length;
    io.buffers = {};
    if (!hand_over(command)) return;
    if (io.error != storage::Error::kNone) return respond(command, to_status(io.error));
  }
  respond(command, Status::kSuccess);
}

// Flush with the broadcast nsid: flushes the namespaces one at a time.
void Queue::next_flush(Command& command) {
  if (command.channel != nullptr) {
    --command.channel->uses;
    command.channel = nullptr;
  }
  if (command.step > 0 && command.io.error != storage::Error::kNone) {
    return respond(command, to_status(command.io.error));
  }
  // Iterates by nsid, because the table may have been replaced; flushes what is served now.
  const auto& all = table_->namespaces;
  for (auto ns = std::ranges::upper_bound(all, command.step, {}, &Namespace::nsid); ns != all.end();
       ++ns) {
    command.step = ns->nsid;
    if (!use_channel(command, *ns)) return respond(command, Status::kNamespaceNotReady);
    command.io.op = storage::Op::kFlush;
    command.io.buffers = {};
    command.stage = Stage::kStorage;
    if (!command.channel->channel->submit(command.io)) return;
    --command.channel->uses;
    command.channel = nullptr;
    if (command.io.error != storage::Error::kNone) {
      return respond(command, to_status(command.io.error));
    }
  }
  respond(command, Status::kSuccess);
}

// Data to the host.

void Queue::send_data(Command& command) {
  command.stage = Stage::kSending;
  command.descriptor = 0;
  command.moved = 0;
  send_next(command);
}

// One RDMA WRITE for each descriptor; the completion follows the last in the same chain.
void Queue::send_next(Command& command) {
  if (link_.closing()) return finish(command);
  while (command.descriptor < command.data.count) {
    const RemoteBuffer remote = command.data.remote(command.descriptor);
    const bool last = command.moved + remote.length == command.data.length;
    if (remote.length == 0) {
      ++command.descriptor;
      continue;
    }
    std::array<Sge, engine::kMaxChunks> sges;
    const size_t n = local_sges(command, command.moved, remote.length, sges);
    if (!last) {
      if (!link_.write(command, {sges.data(), n}, remote)) transfer_failed(command);
      return;
    }
    command.stage = Stage::kAnswering;
    const engine::Answer end = answer(command, Status::kSuccess, 0);
    if (link_.write(command, {sges.data(), n}, remote, &end)) return;
    finish(command);
    return link_.drop("data could not be sent");
  }
}

}  // namespace mrpool::nvmf_target
