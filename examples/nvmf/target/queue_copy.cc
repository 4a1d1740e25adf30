// Copy as a queue carries it out: [nvm] 3.2.2.
//
// It has one chunk of staging memory. The ranges are at its beginning, or in the capsule; the data
// passes through the rest, a part at a time: a read, then a write. Whatever the command's length,
// it takes no more memory, and between two requests other commands go on and an Abort ends it. The
// result of a failed command is the first range that was not copied completely.
#include <algorithm>

#include "examples/nvmf/target/queue.h"

namespace mrpool::nvmf_target {

using nvme::Status;

// The ranges are here.
void Queue::start_copy(Command& command) {
  IoPlan& plan = command.plan;
  const storage::Geometry& geometry = command.channel->volume->geometry();
  const Status planned = plan_copied(command.sqe, host_data(command, 0), geometry, plan);
  if (!ok(planned)) return respond(command, planned);
  if (copy_held_back(command)) [[unlikely]]
    return;
  // As after a part of no bytes.
  command.io.op = storage::Op::kWrite;
  command.io.length = 0;
  copy(command);
}

void Queue::copy(Command& command) {
  const bool more = next_part(command);
  if (!more || !ok(command.taken)) command.fences.clear();
  if (!more) {
    ++counters_->copies;
    counters_->bytes_read += command.plan.length;
    counters_->bytes_written += command.plan.length;
    return respond(command, Status::kSuccess);
  }
  if (!ok(command.taken)) return respond(command, command.taken, command.step);
  // From the loop, so that others go on between two parts.
  if (hand_over(command)) context_.reactor.post(command.again);
}

// The request after the one that has succeeded. False: everything is copied.
bool Queue::next_part(Command& command) {
  storage::Io& io = command.io;
  IoPlan& plan = command.plan;
  io.deallocate = false;
  if (io.op == storage::Op::kRead) {
    io.op = storage::Op::kWrite;
    io.fua = plan.fua;
    io.offset = plan.offset;
    return true;
  }
  plan.offset += io.length;
  command.copied += io.length;
  const storage::Geometry& geometry = command.channel->volume->geometry();
  for (; command.step < plan.ranges; ++command.step, command.copied = 0) {
    const auto range = nvme::read_struct<nvme_copy_range>(
        host_data(command, 0).subspan(command.step * sizeof(nvme_copy_range)));
    uint64_t offset = 0, length = 0;
    copied_range(range, geometry, offset, length);
    if (command.copied == length) continue;
    io.op = storage::Op::kRead;
    io.fua = false;
    io.offset = offset + command.copied;
    io.length = std::min<uint64_t>(length - command.copied, engine::kChunk - kCopyDataAt);
    io.buffers = scatter(command, kCopyDataAt, io.length);
    return true;
  }
  return false;
}

// A request has ended that the storage had.
void Queue::part_stored(Command& command) {
  const bool ends = command.io.error != storage::Error::kNone || command.waiter.set;
  if (ends) command.fences.clear();
  if (command.io.error != storage::Error::kNone) {
    return respond(command, to_status(command.io.error), command.step);
  }
  if (command.waiter.set) {
    command.aborted = true;
    return respond(command, Status::kAbortRequested, command.step);
  }
  copy(command);
}

}  // namespace mrpool::nvmf_target
