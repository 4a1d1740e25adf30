// The limits of a queue's commands: of the host, then of the store. A command that a limit holds
// back has its capsule and its entry in the queue, and nothing else. When it is released, it is
// dispatched again, because namespaces, sizes and reservations may have changed meanwhile.
#include "examples/nvmf/target/queue.h"

namespace mrpool::nvmf_target {
namespace {

constexpr uint8_t kLimits = 2;

// Nothing for commands that are never held back.
engine::IoCost cost_of(const IoPlan& plan) {
  switch (plan.kind) {
    case IoKind::kRead:
    case IoKind::kCompare:
    case IoKind::kVerify:
      return {.commands = 1, .read = plan.length, .written = 0};
    case IoKind::kWrite:
      return {.commands = 1, .read = 0, .written = plan.length};
    case IoKind::kRanges:
    case IoKind::kMark:
      return {.commands = 1, .read = 0, .written = 0};
    case IoKind::kSimple:
      return {.commands = plan.op == storage::Op::kFlush ? 0u : 1u, .read = 0, .written = 0};
    case IoKind::kCopy:  // copy_held_back()
    case IoKind::kFormat:
    case IoKind::kReserve:
    case IoKind::kReport:
      break;
  }
  return {};
}

}  // namespace

void Queue::take_limits(Handle& handle, const Namespace& ns) {
  const std::string& host = controller_->identity().host_nqn;
  if (host_limiter_ == nullptr) {
    host_limiter_ = controller_->subsystem().host_limits().limiter(host);
  }
  if (host_limiter_->limits_something()) {
    handle.host_limit = context_.throttles->get(host_limiter_, host);
  }
  if (ns.limiter != nullptr && ns.limiter->limits_something()) {
    handle.store_limit = context_.throttles->get(ns.limiter, host);
  }
  handle.limited = handle.host_limit != nullptr || handle.store_limit != nullptr;
}

// True: released() follows.
bool Queue::held_back(Command& command, const Namespace& ns) {
  if (!handles_[size_t(&ns - table_->namespaces.data())].limited) [[likely]]
    return false;
  return held_back(command, ns, cost_of(command.plan));
}

bool Queue::held_back(Command& command, const Namespace& ns, const engine::IoCost& cost) {
  const Handle& handle = handles_[size_t(&ns - table_->namespaces.data())];
  if (cost.free() || !handle.limited) return false;
  for (; command.passed < kLimits; ++command.passed) {
    engine::Throttle* const limit =
        command.passed == 0 ? handle.host_limit.get() : handle.store_limit.get();
    if (limit == nullptr || limit->pass(command.held, cost)) continue;
    command.stage = Stage::kHeld;
    command.waits_since = link_.now();
    if (command.waits_at == nullptr) account_of(ns)->held_back();
    command.waits_at = account_of(ns);
    return true;
  }
  return false;
}

// A fused operation waits as a whole: its Write leads.
bool Queue::pair_held_back(Command& write) {
  const uint64_t length = write.plan.length;
  return held_back(write, *write.plan.ns, {.commands = 2, .read = length, .written = length});
}

// What a Copy costs is known when its ranges are here. If it waits, it gives its memory back, and
// fetches the ranges again. The host may change them meanwhile: it pays again for longer ones.
bool Queue::copy_held_back(Command& command) {
  const Namespace* const ns = table_->find(command.sqe.nsid);
  if (ns == nullptr) return false;  // it was removed after the command had begun
  const uint64_t length = command.plan.length;
  if (length > command.paid) {
    command.passed = 0;
    command.paid = length;
  }
  if (!held_back(command, *ns, {.commands = 1, .read = length, .written = length})) return false;
  release(command);
  return true;
}

// Its wait is over.
void Queue::count_wait(Command& command) {
  command.stage = Stage::kFree;
  command.waits_at->held_for(link_.now() - command.waits_since);
}

void Queue::released(Command& command) {
  count_wait(command);
  if (link_.closing()) return finish(command);
  ++command.passed;
  refresh_namespaces();
  command.partner != nullptr ? pair(*command.partner, command) : dispatch_io(command);
}

// It will not be released: the caller ends it.
void Queue::stop_waiting(Command& command) {
  command.held.cancel();
  count_wait(command);
}

}  // namespace mrpool::nvmf_target
