// Reservations as a queue meets them: what its host may do, the commands that change them, and the
// end of commands that somebody's Preempt and Abort takes away.
#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>

#include "examples/nvmf/target/queue.h"

namespace mrpool::nvmf_target {

using nvme::Status;
using nvme::with_dnr;

// Somebody holds a reservation of the namespace.
bool Queue::reservation_allows(const Namespace& ns, uint64_t held, reservation::Access access) {
  Handle& handle = handles_[size_t(&ns - table_->namespaces.data())];
  if (handle.rights.held != held) {
    handle.rights = ns.reservations->rights(controller_->identity().host_id);
  }
  return handle.rights.allow(access);
}

bool Queue::flush_allowed() {
  return std::ranges::all_of(table_->namespaces, [this](const Namespace& ns) {
    const uint64_t held = ns.reservations->held();
    return held == 0 || reservation_allows(ns, held, reservation::Access::kWrite);
  });
}

CommandRef Queue::ref_of(const Command& command) const {
  return {{context_.worker, link_.id()}, command.slot, command.serial};
}

// The keys are here. While they came, another command may have met a new table.
void Queue::reserve(Command& command) {
  const Namespace* const ns = table_->find(command.sqe.nsid);
  if (ns == nullptr || !meant(*ns)) return respond(command, with_dnr(Status::kInvalidNamespace));
  ReservationRequest request;
  request.opcode = nvme::IoOpcode(command.sqe.opcode);
  request.cdw10 = command.sqe.cdw10;
  std::memcpy(static_cast<void*>(&request.keys), host_data(command, 0).data(),
              command.plan.data_length);
  command.stage = Stage::kAside;
  context_.aside.reserve({ref_of(command), controller_, ns->nsid, ns->reservations, request});
}

void Queue::report_reservations(Command& command) {
  // Data for the host needs the host's memory.
  if (!command.data.remote()) return respond(command, with_dnr(Status::kInvalidField));
  command.reply = command.plan.ns->reservations->report();
  command.reply.resize(command.plan.data_length);  // beyond its end there are zeroes
  command.purpose = Purpose::kReply;
  if (take_staging(command, *command.flow, engine::chunks_for(command.reply.size()))) {
    send_reply(command);
  }
}

void Queue::answered_aside(uint32_t slot, uint32_t serial, Status status) {
  if (slot >= commands_.size()) return;
  Command& command = *commands_[slot];
  if (command.stage != Stage::kAside || command.serial != serial) return;
  if (ok(status) && command.step != 0) return flush_protected(command);
  respond(command, status);
}

// What the volatile write cache has of a namespace is durable when it counts as write protected.
void Queue::flush_protected(Command& command) {
  refresh_namespaces();
  const Namespace* const ns = table_->find(std::exchange(command.step, 0));
  if (ns == nullptr) return respond(command, Status::kSuccess);
  if (!use_channel(command, *ns)) return respond(command, Status::kNamespaceNotReady);
  command.plan = {};
  command.plan.kind = IoKind::kSimple;
  command.plan.op = storage::Op::kFlush;
  command.plan.ns = ns;
  command.io.error = storage::Error::kNone;
  store(command);
}

void Queue::take_away(uint32_t nsid, Status status, const std::shared_ptr<Fence>& fence) {
  for (const auto& each : commands_) {
    Command& command = *each;
    if (command.sqe.nsid != nsid || command.purpose != Purpose::kIo) continue;
    switch (command.stage) {
      case Stage::kHeld:
        stop_waiting(command);
        respond(command, status);
        break;
      case Stage::kStaging:
        context_.staging.cancel(command.staging);
        respond(command, status);
        break;
      case Stage::kBehind:
        command.channel->volume->late().cancel(command.behind);
        respond(command, status);
        break;
      case Stage::kGate:
        respond(command, status);
        break;
      case Stage::kStorage:
        // An Abort that waits for it has begun to count already.
        if (!command.waiter.set && command.fences.empty()) command.abort_asked = link_.now();
        aborts_wait_ = true;
        command.taken = status;
        command.fences.push_back(fence);
        break;
      case Stage::kFused:
      case Stage::kFetching:  // as long as the host likes; it gets no further
        command.taken = status;
        break;
      default:  // over for the storage, or it was late
        break;
    }
  }
}

void Queue::drain(uint32_t nsid, const std::shared_ptr<Fence>& fence) {
  for (const auto& each : commands_) {
    if (each->stage != Stage::kFree && each->sqe.nsid == nsid &&
        each->purpose != Purpose::kConnect) {
      each->drain = fence;
    }
  }
}

}  // namespace mrpool::nvmf_target
