// Format NVM as an admin queue carries it out: [base] 5.23, [nvm] 4.1.4.
//
// There is one LBA format, so what a format changes is the content: all blocks are zeroed and their
// space is given back, with and without "user data erase". One request of the storage does it for a
// namespace, while other I/O goes on. Writes that were there before end first, and later ones wait
// in the gate of the store, so none of them survives, and none comes between.
#include <algorithm>

#include "examples/nvmf/target/queue.h"

namespace mrpool::nvmf_target {

using nvme::Status;
using nvme::with_dnr;

void Queue::format(Command& command, uint32_t nsid) {
  refresh_namespaces();
  const bool all = nsid == nvme::kBroadcastNsid;
  if (!all && table_->find(nsid) == nullptr) {
    return respond(command, with_dnr(Status::kInvalidNamespace));
  }
  // All of them, or none.
  for (const Namespace& ns : table_->namespaces) {
    if (!all && ns.nsid != nsid) continue;
    if (const Status s = may_format(ns); !ok(s)) return respond(command, s);
  }
  command.plan = {};
  command.plan.kind = IoKind::kFormat;
  command.step = all ? 0 : nsid - 1;  // the last that is done
  command.io.error = storage::Error::kNone;
  format_next(command);
}

Status Queue::may_format(const Namespace& ns) {
  if (!meant(ns)) return with_dnr(Status::kInvalidNamespace);
  if (const Status path = path_to(ns); !ok(path)) return path;
  if (ns.write_protected()) return with_dnr(Status::kNamespaceWriteProtected);
  const uint64_t held = ns.reservations->held();
  return held == 0 || reservation_allows(ns, held, reservation::Access::kWrite)
             ? Status::kSuccess
             : with_dnr(Status::kReservationConflict);
}

// A namespace is formatted, or none is yet.
void Queue::format_next(Command& command) {
  const uint32_t nsid = command.sqe.nsid;
  if (command.channel != nullptr) {
    formatted(command.step);
    --command.channel->uses;
    command.channel = nullptr;
  }
  if (!ok(command.taken)) return respond(command, command.taken);
  // By nsid, because the table may have been replaced.
  const auto& all = table_->namespaces;
  const auto ns = std::ranges::upper_bound(all, command.step, {}, &Namespace::nsid);
  if (ns == all.end() || (nsid != nvme::kBroadcastNsid && ns->nsid != nsid)) {
    return respond(command, Status::kSuccess);
  }
  command.step = ns->nsid;
  if (const Status s = may_format(*ns); !ok(s)) return respond(command, s);
  if (!use_channel(command, *ns)) return respond(command, Status::kNamespaceNotReady);
  storage::Io& io = command.io;
  io.op = storage::Op::kWriteZeroes;
  io.fua = io.deallocate = true;
  io.offset = 0;
  io.length = ns->volume->geometry().bytes();
  io.buffers = {};
  if (!enter_gate(command, true)) return;
  if (hand_over(command)) context_.reactor.post(command.again);
}

// The other hosts look at the namespace again: what they have cached of it is gone.
void Queue::formatted(uint32_t nsid) {
  for (const auto& each : context_.target.controllers_of(controller_->subsystem())) {
    const bool other = each->identity().host_nqn != controller_->identity().host_nqn;
    if (other && each->namespaces()->find(nsid) != nullptr) each->namespaces_changed({&nsid, 1});
  }
}

}  // namespace mrpool::nvmf_target
