// EXTENDED COPY of a session: from the parameter list to the last segment.
//
//   list parsed → [limits of the segment] → [staging memory] → read, write, read, write → next
//   segment
//
// A part is a read of one unit and a write of another, both by the rules of READ and WRITE.
// Reservations, write protection, ALUA states and sizes count as they are when the part begins. A
// copy reaches only units that the session sees then. Between two parts other tasks have their
// turns.
#include <algorithm>
#include <utility>

#include "examples/base/big_endian.h"
#include "examples/engine/io_accounts.h"
#include "examples/iser/target/connection.h"

namespace mrpool::iser_target {
namespace {

using Kind = scsi::Plan::Kind;
using Side = scsi::CopySide;
using State = Task::State;

constexpr uint8_t kCopyLimits = 3;  // of the initiator, and of both units

}  // namespace

// The parameter list is here.
void Connection::begin_copy(Task& task, std::span<const uint8_t> list) {
  auto copy = std::make_unique<TaskCopy>();
  task.plan = task.handle->logical().begin_copy(task.handle->nexus, task.pdu.cdb, list, copy->run);
  // Others may need what the list was in.
  release_pieces(task);
  if (task.chunk_count != 0) link_.give_chunks(task);
  if (task.plan.kind == Kind::kDone) return respond(task);
  task.copy = std::move(copy);
  copy_on(task);
}

// What comes next, after the list and after each part.
void Connection::copy_on(Task& task) {
  if (task.aborted || phase_ == Phase::kClosed) return finish(task);
  TaskCopy& copy = *task.copy;
  while (!copy.run.is_open() && !copy.run.done()) {
    if (const auto wrong = open_segment(task)) return fail_copy(task, *wrong);
  }
  if (!copy.run.is_open()) {
    ++worker_.counters.copies;
    return respond(task);
  }
  // A task that waits for a limit has no memory.
  if (copy.passed != kCopyLimits && copy_held_back(task)) {
    if (task.chunk_count != 0) link_.give_chunks(task);
    return;
  }
  if (task.chunk_count == 0) {
    task.staged = std::min(copy.run.segment_bytes(), kCopyPart);
    task.state = State::kWaiting;
    if (!link_.take_chunks(task, task.staged)) return;
  }
  copy.run.part(uint64_t{task.chunk_count} * kChunk);
  copy_side(task, Side::kSource);
}

// Finds the units of the next segment.
std::optional<scsi::Sense> Connection::open_segment(Task& task) {
  TaskCopy& copy = *task.copy;
  if (task.chunk_count != 0) link_.give_chunks(task);  // they are the former destination's
  let_go_of_sides(copy);
  look_at_units();
  for (const Side which : {Side::kSource, Side::kDestination}) {
    const scsi::CopyUnit* name = nullptr;
    if (const auto wrong = copy.run.name(which, name)) return wrong;
    const auto found = std::ranges::find_if(
        units_, [&](const auto& unit) { return is_named(unit.second->facts(), *name); });
    if (found == units_.end()) return copy.run.unreachable(which);
    copy.side(which) = {.lun = found->first, .handle = found->second.get()};
    ++found->second->users;
  }
  const UnitHandle& source = *copy.side(Side::kSource).handle;
  const UnitHandle& destination = *copy.side(Side::kDestination).handle;
  copy.passed = 0;
  return copy.run.open({source.facts().block_size, source.logical().blocks()},
                       {destination.facts().block_size, destination.logical().blocks()},
                       source.unit->volume == destination.unit->volume);
}

// True: released() follows. Each segment counts as a command.
bool Connection::copy_held_back(Task& task) {
  TaskCopy& copy = *task.copy;
  UnitHandle& source = *copy.side(Side::kSource).handle;
  UnitHandle& destination = *copy.side(Side::kDestination).handle;
  (void)limited(task);  // finds the initiator's limiter
  const uint64_t bytes = copy.run.segment_bytes();
  const bool one_unit = &source == &destination;
  for (; copy.passed < kCopyLimits; ++copy.passed) {
    const bool of_source = copy.passed == 1;
    if (of_source && one_unit) continue;
    UnitHandle& unit = of_source ? source : destination;
    const bool reads = copy.passed != 2 || one_unit, writes = !of_source;
    const std::shared_ptr<engine::Limiter>& limiter =
        copy.passed == 0 ? limiter_ : unit.unit->limiter;
    if (limiter == nullptr || !limiter->limits_something()) continue;
    std::shared_ptr<engine::Throttle>& throttle = copy.passed == 0 ? limit_ : unit.limit;
    if (throttle == nullptr) throttle = worker_.throttles().get(limiter, initiator());
    const engine::IoCost cost{
        .commands = 1, .read = reads ? bytes : 0, .written = writes ? bytes : 0};
    if (throttle->pass(task.held, cost)) continue;
    begin_wait(task);
    return true;
  }
  return false;
}

// Reads the part from the source, or writes it to the destination.
void Connection::copy_side(Task& task, Side which) {
  TaskCopy& copy = *task.copy;
  copy.at = which;
  const TaskCopy::Side& side = copy.side(which);
  look_at_units();
  const auto served = units_.find(side.lun);
  if (served == units_.end() || served->second.get() != side.handle) {
    return fail_copy(task, copy.run.unreachable(which));
  }
  UnitHandle& handle = *side.handle;
  const scsi::Plan plan = handle.logical().copy_part(handle.nexus, which, copy.run.blocks(which));
  if (plan.kind == Kind::kDone) return fail_copy(task, copy.run.refused(which, plan));
  Store* const store = store_of(handle);
  if (store == nullptr) return fail_copy(task, copy.run.unreachable(which));
  uint64_t left = copy.run.part_bytes();
  for (task.vector_count = 0; left != 0; ++task.vector_count) {
    const uint64_t n = std::min<uint64_t>(left, kChunk);
    const uint16_t chunk = task.chunks[task.vector_count];
    task.vectors[task.vector_count] = {link_.chunk(chunk).data(), n};
    left -= n;
  }
  task.state = State::kExecuting;
  link_.executing(task);
  const std::span<const iovec> vectors(task.vectors.data(), task.vector_count);
  if (task.work.start(*store, plan, vectors)) executed(task);
}

// The storage has carried out what copy_side() asked for.
void Connection::copied_side(Task& task) {
  TaskCopy& copy = *task.copy;
  if (task.aborted || phase_ == Phase::kClosed) return finish(task);
  if (task.work.status() != scsi::Status::kGood) {
    task.storage_failed = true;
    return fail_copy(task, copy.run.refused(copy.at, check(task.work.sense())));
  }
  const uint64_t bytes = copy.run.part_bytes();
  if (copy.at == Side::kSource) {
    worker_.counters.bytes_read += bytes;
    return copy_side(task, Side::kDestination);
  }
  worker_.counters.bytes_written += bytes;
  copy.run.moved();
  worker_.reactor().post(task.again);
}

void Connection::fail_copy(Task& task, const scsi::Sense& sense) {
  task.plan = scsi::check(sense);
  respond(task);
}

// The answer is known: RECEIVE COPY STATUS reports it.
void Connection::end_copy(Task& task) {
  TaskCopy& copy = *task.copy;
  if (std::exchange(copy.ended, true)) return;
  task.handle->logical().end_copy(task.handle->nexus, copy.run, task.plan);
}

void Connection::let_go_of_sides(TaskCopy& copy) {
  bool last = false;
  for (TaskCopy::Side& side : copy.sides) {
    UnitHandle* const handle = std::exchange(side.handle, nullptr);
    last |= handle != nullptr && --handle->users == 0;
  }
  if (last && !leaving_.empty()) let_go_of_units();
}

// Whether the task copies from the unit or to it, although its own LUN is another.
bool TaskFilter::concerns_copy(const Task& task) const {
  if (unit == nullptr || !copies || tag || task.copy == nullptr) return false;
  return std::ranges::any_of(task.copy->sides, [&](const TaskCopy::Side& side) {
    return side.handle != nullptr && side.handle->unit->same_line(*unit);
  });
}

}  // namespace mrpool::iser_target
