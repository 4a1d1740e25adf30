// Fused operations as a queue meets them. There is one, Compare and Write: [base] 6.2, [nvm] 2.3.
//
//   Compare  received → pairing → fused → [fetching] → fused → answering
//   Write    received → fused → staging → [fetching] → fused → [gate] → storage, twice → answering
//
// The Write leads: it has the staging memory for both, passes the gate of the store alone, reads
// what is stored, compares, and writes. So no other write comes between. At most one of the two is
// in another stage than kFused, and both end together, the Compare first.
#include <algorithm>
#include <cstring>
#include <utility>

#include "examples/nvmf/target/queue.h"

namespace mrpool::nvmf_target {

using nvme::IoOpcode;
using nvme::Status;
using nvme::with_dnr;

namespace {

// In the staging memory. Distances for the alignment of any store.
constexpr uint64_t kExpectedAt = 0;
constexpr uint64_t kStoredAt = kMaxFused;
constexpr uint64_t kWrittenAt = uint64_t{2} * kMaxFused;

bool same_blocks(const nvme::Sqe& a, const nvme::Sqe& b) {
  return a.nsid == b.nsid && a.slba() == b.slba() && a.blocks() == b.blocks();
}

}  // namespace

void Queue::dispatch_fused(Command& command) {
  const bool first = command.sqe.fuse() == nvme::Fuse::kFirst;
  if (!first && first_ == nullptr) return respond(command, with_dnr(Status::kMissingFused));
  if (IoOpcode(command.sqe.opcode) != (first ? IoOpcode::kCompare : IoOpcode::kWrite)) {
    return respond(command, with_dnr(Status::kInvalidField));
  }
  if (!first) return pair(*std::exchange(first_, nullptr), command);
  command.stage = Stage::kPairing;
  command.began = link_.now();
  first_ = &command;
}

void Queue::miss_second() {
  respond(*std::exchange(first_, nullptr), with_dnr(Status::kMissingFused));
}

void Queue::pair(Command& compare, Command& write) {
  if (!same_blocks(compare.sqe, write.sqe)) {
    respond(compare, with_dnr(Status::kInvalidField));
    return respond(write, with_dnr(Status::kInvalidField));
  }
  compare.partner = &write;
  write.partner = &compare;
  compare.stage = write.stage = Stage::kFused;
  if (const Status s = plan(compare); !ok(s)) return respond(compare, s);
  if (const Status s = plan(write); !ok(s)) return respond(write, s);
  if (write.plan.length > kMaxFused) {
    return respond(compare, with_dnr(Status::kAtomicWriteUnitExceeded));
  }
  if (pair_held_back(write)) [[unlikely]]
    return;
  compare.data_at = kExpectedAt;
  write.read_back = kStoredAt;
  write.data_at = kWrittenAt;
  if (!begin(compare) || !begin(write)) return respond(compare, Status::kNamespaceNotReady);
  if (take_staging(write, *write.flow, 1)) fetch_pair(write);
}

void Queue::fetch_pair(Command& write) {
  write.stage = Stage::kFused;
  Command& compare = *write.partner;
  compare.data.remote() ? fetch(compare) : fetched(compare);
}

// One of the two has its data; the Compare comes first.
void Queue::pair_fetched(Command& command) {
  command.stage = Stage::kFused;
  const bool first = command.sqe.fuse() == nvme::Fuse::kFirst;
  Command& write = first ? *command.partner : command;
  if (first && write.data.remote()) return fetch(write);
  if (first) {
    const std::span<const std::byte> inside = write.data.in_capsule;
    std::ranges::copy(inside, context_.staging.at(write.staging, write.data_at));
  }
  write.io.offset = write.plan.offset;
  write.io.length = write.plan.length;
  if (enter_gate(write, true)) compare_pair(write);
}

// The Write is alone on its blocks.
void Queue::compare_pair(Command& write) {
  if (!ok(write.taken)) return respond(write, write.taken);
  if (!ok(write.partner->taken)) return respond(write, write.partner->taken);
  storage::Io& io = write.io;
  io.op = storage::Op::kRead;
  io.fua = io.deallocate = false;
  io.buffers = scatter(write, write.read_back, write.plan.length);
  submit(write);
}

// The storage has read the blocks, or written them.
void Queue::pair_stored(Command& write) {
  Command& compare = *write.partner;
  const storage::Error error = write.io.error;
  if (write.compared) {
    if (error != storage::Error::kNone) return respond(write, to_status(error));
    ++counters_->writes;
    counters_->bytes_written += write.plan.length;
    ++counters_->compare_and_writes;
    return respond(write, Status::kSuccess);
  }
  if (error != storage::Error::kNone) return respond(compare, to_status(error));
  ++counters_->reads;
  counters_->bytes_read += write.plan.length;
  const std::byte* stored = context_.staging.at(write.staging, write.read_back);
  if (std::memcmp(host_data(compare, 0).data(), stored, write.plan.length) != 0) {
    return respond(compare, with_dnr(Status::kCompareFailure));
  }
  write.compared = true;
  // Nothing is written for a host that another one has fenced.
  if (!ok(write.taken)) return respond(write, write.taken);
  storage::Io& io = write.io;
  io.op = storage::Op::kWrite;
  io.fua = write.plan.fua;
  io.buffers = scatter(write, write.data_at, write.plan.length);
  submit(write);
}

// The status of one command decides that of the other: what failed first ends both, and a Compare
// that succeeded stays so whatever becomes of the Write.
void Queue::respond_pair(Command& command, Status status) {
  const bool first = command.sqe.fuse() == nvme::Fuse::kFirst;
  Command& compare = first ? command : *command.partner;
  Command& write = first ? *command.partner : command;
  if (write.gated) leave_gate(write);
  write.fences.clear();
  compare.partner = write.partner = nullptr;
  compare.stage = write.stage = Stage::kAnswering;
  const Status other = write.compared ? Status::kSuccess : Status::kFailedFused;
  respond(compare, first ? status : other);
  respond(write, first ? Status::kFailedFused : status);
}

void Queue::end_partner(Command& command) {
  Command* const partner = std::exchange(command.partner, nullptr);
  if (partner == nullptr) return;
  partner->partner = nullptr;
  finish(*partner);
}

}  // namespace mrpool::nvmf_target
