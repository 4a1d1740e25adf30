// How a command's request reaches its store: past late requests and the gate of the store. And how
// a command ends before its request does.
#include <utility>

#include "examples/nvmf/target/queue.h"

namespace mrpool::nvmf_target {

using nvme::Status;

// Submits the request to the storage, unless a late request or a Compare and Write uses its blocks.
// True: it has completed.
bool Queue::hand_over(Command& command) {
  if (!passes_late(command)) return false;
  if (changes_blocks(command.io.op) && !command.gated) {
    // What was in the gate may be late now.
    if (!enter_gate(command, false) || !passes_late(command)) return false;
  }
  command.stage = Stage::kStorage;
  context_.staging.enter_store(command.staging);
  if (command.plan.kind == IoKind::kMark || command.channel->volume->bad_blocks().any())
      [[unlikely]] {
    if (!hand_over_marked(command)) return false;
  } else if (!command.channel->channel->submit(command.io)) {
    return false;
  }
  if (command.gated && command.partner == nullptr) leave_gate(command);
  return true;
}

// False: a late request uses its blocks, and submit() follows.
bool Queue::passes_late(Command& command) {
  storage::LateRanges& late = command.channel->volume->late();
  const storage::Io& io = command.io;
  if (!late.any() || io.op == storage::Op::kFlush ||
      late.pass(command.behind, io.offset, io.length, context_.reactor)) {
    return true;
  }
  command.stage = Stage::kBehind;
  return false;
}

// False: it waits, and QueueCallbacks::admitted() follows.
bool Queue::enter_gate(Command& command, bool exclusive) {
  command.pass.offset = command.io.offset;
  command.pass.length = command.io.length;
  command.pass.exclusive = exclusive;
  command.gated = true;
  if (command.channel->volume->gate().enter(command.pass, context_.worker, context_.reactor)) {
    return true;
  }
  command.stage = Stage::kGate;
  return false;
}

// Also takes it back if it waits.
void Queue::leave_gate(Command& command) {
  command.gated = false;
  storage::RangeGate& gate = command.channel->volume->gate();
  if (command.stage == Stage::kGate && gate.cancel(command.pass)) return;
  gate.leave(command.pass, context_.worker);
}

// Ends commands whose aborts have waited long enough.
void Queue::look_at_aborts(Nanoseconds now) {
  aborts_wait_ = false;
  for (const auto& command : commands_) {
    if (command->stage != Stage::kStorage) continue;
    if (!command->waiter.set && command->fences.empty()) continue;
    if (now - command->abort_asked <= engine::kAbortPatience || link_.closing()) {
      aborts_wait_ = true;
      continue;
    }
    const AbortWaiter waiter = std::exchange(command->waiter, {});
    const bool ended = late_ < most_late(entries_) && give_up(*command);
    if (ended) {
      respond(*command, !ok(command->taken) ? command->taken : Status::kAbortRequested);
    } else if (!command->fences.empty()) {
      aborts_wait_ = true;
    }
    if (waiter.set) context_.aborts.route_answer(waiter, ended);
  }
}

// Ends a command while the storage works on it. The storage keeps its memory until it answers, and
// its blocks stay locked. False: its data is in a capsule that must be replaced, and there is no
// memory for another.
bool Queue::give_up(Command& command) {
  const storage::Io& io = command.io;
  const bool in_capsule =
      io.op == storage::Op::kWrite && !command.data.remote() && command.staging.held() == 0;
  if (in_capsule && !link_.closed()) {
    if (!link_.keep_receive(*command.receive)) return false;
    command.kept = std::exchange(command.receive, nullptr);
  }
  command.late = true;
  ++late_;
  command.fences.clear();  // no other command reaches its blocks before it
  // A request that only reads or holds changes nothing.
  const bool changes = changes_blocks(io.op);
  command.late_range.offset = io.offset;
  command.late_range.length = changes ? io.length : 0;
  if (changes) command.channel->volume->late().add(command.late_range);
  if (command.gated) leave_gate(command);  // a late request locks its blocks itself
  return true;
}

void Queue::late_stored(Command& command) {
  command.late = false;
  --late_;
  if (command.late_range.length != 0) command.channel->volume->late().remove(command.late_range);
  if (command.kept != nullptr) link_.free_receive(*std::exchange(command.kept, nullptr));
  // Otherwise its answer is still being sent.
  if (command.stage == Stage::kLate || command.stage == Stage::kStorage) finish(command);
}

}  // namespace mrpool::nvmf_target
