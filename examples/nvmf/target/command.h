// The state of one command in a queue; the object is reused for later commands.
//
// Stages of an I/O command (admin commands skip the storage):
//   write    received → [staging → fetching] → storage → answering
//   read     received → [staging] → storage → answering (data and completion in one chain)
//   compare  received → staging → fetching → storage → answering
//   verify   received → staging → storage → answering
//   compare and write: queue_fused.cc; copy: queue_copy.cc
// Stages in brackets are skipped when the data came in the capsule, or can be gathered in place.
//
// Thread safety: the queue's worker. Ownership: the queue owns it; no call allocates memory.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "examples/engine/channels.h"
#include "examples/engine/io_accounts.h"
#include "examples/engine/limits.h"
#include "examples/engine/link.h"
#include "examples/engine/staging.h"
#include "examples/engine/throttle.h"
#include "examples/nvmf/target/aside.h"
#include "examples/nvmf/target/controller.h"
#include "examples/nvmf/target/io_command.h"
#include "examples/nvmf/target/limits.h"
#include "examples/nvmf/target/sgl.h"
#include "examples/protocol/nvme/wire.h"
#include "examples/storage/storage.h"
#include "mrpool/types.h"

namespace mrpool::nvmf_target {

class Queue;

// The purpose of a command's data.
enum class Purpose : uint8_t { kIo, kConnect, kProof, kReply };

enum class Stage : uint8_t {
  kFree,
  kHeld,       // a limit holds it back; it holds nothing yet
  kStaging,    // waits for staging memory
  kFetching,   // RDMA READs of the host's data
  kBehind,     // waits for a late request for its blocks
  kGate,       // waits for a Compare and Write of its blocks, or, as one, for writes
  kPairing,    // the first command of a fused operation, until the second arrives
  kFused,      // of a fused operation, while the other command of it is in a stage
  kStorage,    // the backend works on it
  kSending,    // RDMA WRITEs to the host, except the last
  kAnswering,  // the completion, and the last RDMA WRITE before it
  kJoining,    // a Connect that waits until an earlier connection has ended
  kParked,     // an Asynchronous Event Request
  kAborting,   // an Abort that waits for the aborted command
  kAside,      // another thread works on it, or ends other commands first
  kProving,    // an Authentication Send that waits for its computation
  kLate,       // ended for its host; the backend still works on it
};

// The Abort, on some queue, that waits for the end of a command.
struct AbortWaiter {
  QueueRef queue;
  uint32_t slot = 0;
  uint32_t serial = 0;
  bool set = false;
};

struct Command : engine::Exchange {
  struct Claim : engine::StagingClaim {
    Claim(Ready ready, Command& c) : StagingClaim(ready), command(c) {}
    Command& command;
  };
  struct Request : storage::Io {
    explicit Request(Done done_fn, Command& c) : Io(done_fn), command(c) {}
    Command& command;
  };
  struct Behind : storage::LateRanges::Wait {
    Behind(Run over, Command& c) : Wait(over), command(c) {}
    Command& command;
  };
  struct Pass : storage::RangeGate::Pass {
    Pass(Run run, Command& c) : storage::RangeGate::Pass(run), command(c) {}
    Command& command;
  };
  struct Again : Task {
    Again(Run run, Command& c) : Task(run), command(c) {}
    Command& command;
  };
  struct Held : engine::HeldCommand {
    Held(Go go, Command& c) : HeldCommand(go), command(c) {}
    Command& command;
  };
  struct Callbacks {
    Held::Go released;
    Claim::Ready staged;
    storage::Io::Done stored;
    Task::Run behind;
    Task::Run admitted;
    Task::Run again;
  };

  Command(Queue& q, uint32_t number, const Callbacks& calls)
      : queue(q),
        slot(number),
        held(calls.released, *this),
        staging(calls.staged, *this),
        io(calls.stored, *this),
        behind(calls.behind, *this),
        pass(calls.admitted, *this),
        again(calls.again, *this) {}

  Queue& queue;
  const uint32_t slot;

  // State of the current command.
  Stage stage = Stage::kFree;
  bool owns_id = false;        // its command id is marked as in use
  bool aborted = false;        // an Abort came in time: no further step starts
  bool can_gather = false;     // the namespace's memory is registered
  bool holding = false;        // has a kHold of the storage, to be released
  bool gated = false;          // is in the gate of the store, or waits for it
  bool clears_marks = false;   // the request began at marked blocks (queue_marks.cc)
  bool compared = false;       // a fused Write: the stored data is what the Compare has
  uint8_t passed = 0;          // how many of the limits that concern it (queue_limits.cc)
  Command* partner = nullptr;  // the other command of a fused operation, until it is answered
  uint32_t serial = 0;         // counts the uses of this slot
  Nanoseconds held_since{};    // while `holding`; at most a tick too early
  Purpose purpose = Purpose::kIo;
  uint64_t read_back = 0;   // Compare: offset of the storage's data in staging memory
  uint64_t data_at = 0;     // offset of the host's data in staging memory
  uint32_t descriptor = 0;  // of the SGL, next one to transfer
  uint64_t moved = 0;       // bytes transferred by earlier descriptors
  // Next range (Dataset Management, Copy), nsid done (Flush of all).
  uint32_t step = 0;
  uint64_t copied = 0;                 // bytes of the range that Copy is at
  engine::Receive* receive = nullptr;  // the capsule, until its receive is released
  engine::ChannelSlot* channel = nullptr;
  engine::StagingFlow* flow = nullptr;  // for its data
  const std::byte* gather = nullptr;    // read data in place, instead of staging memory
  Lkey gather_key;
  AbortWaiter waiter;
  engine::IoAccount* account = nullptr;        // counts it when it is answered
  Nanoseconds began{};                         // with `account`
  std::vector<std::byte> reply;                // data made here, until it gets staging memory
  std::vector<std::shared_ptr<Fence>> fences;  // wait for its end in the storage
  std::shared_ptr<Fence> drain;                // waits for its end
  // Not success: it ends with this status, and no further step starts.
  nvme::Status taken = nvme::Status::kSuccess;
  nvme::Sqe sqe;
  DataBuffers data;
  IoPlan plan;
  std::array<iovec, engine::kMaxChunks> iov;

  // Set if the command ended while the storage worked on it.
  bool late = false;
  Nanoseconds abort_asked{};  // while `waiter` waits for the storage
  storage::LateRanges::Range late_range;
  engine::Receive* kept = nullptr;  // has the data that the storage still reads

  Held held;
  uint64_t paid = 0;                      // bytes of a Copy that have been counted
  Nanoseconds waits_since{};              // while it is held
  engine::IoAccount* waits_at = nullptr;  // owned by the queue; not null: it was held
  Claim staging;
  Request io;
  Behind behind;
  Pass pass;
  Again again;  // a request that ended at once is taken as one that the storage had
};

}  // namespace mrpool::nvmf_target
