// Blocks that hosts have marked as uncorrectable, as a queue meets them (storage/bad_blocks.h):
// Write Uncorrectable, [nvm] 3.2.7, and every other command of a store that has marks.
//
// A change of the marks may have to wait for a disk. Another thread makes it then, and the command
// stays in the stage kStorage as if the store worked on it: late_ranges.h and an Abort treat it so.
#include <utility>

#include "examples/nvmf/target/queue.h"

namespace mrpool::nvmf_target {

// Instead of the store alone. True: the request has completed.
bool Queue::hand_over_marked(Command& command) {
  if (command.plan.kind == IoKind::kMark) return change_marks(command);
  storage::Io& io = command.io;
  storage::Channel& store = *command.channel->channel;
  const storage::BadBlocks& marks = command.channel->volume->bad_blocks();
  if (io.op == storage::Op::kFlush || !marks.first_in(io.offset, io.length)) {
    return store.submit(io);
  }
  if (!changes_blocks(io.op)) {
    io.error = storage::Error::kMarkedBad;
    return true;
  }
  // What was there must not be readable again, so the store has to do more than take a hint.
  if (io.op == storage::Op::kDeallocate) {
    io.op = storage::Op::kWriteZeroes;
    io.deallocate = true;
  }
  command.clears_marks = true;
  return store.submit(io) && change_marks(command);
}

// Sets the marks of Write Uncorrectable, or removes those of what has been written. True: done.
bool Queue::change_marks(Command& command) {
  command.clears_marks = false;
  const bool sets = command.plan.kind == IoKind::kMark;
  storage::Io& io = command.io;
  if (!sets && io.error != storage::Error::kNone) return true;
  auto change = [volume = command.channel->volume, offset = io.offset, length = io.length, sets] {
    storage::BadBlocks& marks = volume->bad_blocks();
    return sets ? marks.mark(offset, length, volume->geometry()) : marks.clear(offset, length);
  };
  if (command.channel->volume->bad_blocks().kept()) {
    context_.aside.change_marks(ref_of(command), std::move(change));
    return false;
  }
  io.error = change();
  return true;
}

// Another thread has changed the marks.
void Queue::marks_changed(uint32_t slot, uint32_t serial, storage::Error error) {
  if (slot >= commands_.size()) return;
  Command& command = *commands_[slot];
  if (command.serial != serial) return;
  command.io.error = error;
  stored(command);
}

}  // namespace mrpool::nvmf_target
