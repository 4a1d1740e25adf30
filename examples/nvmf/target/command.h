// One command on its way through a queue: everything it needs, in one place that is reused.
//
// Stages of an I/O command (admin commands skip the storage):
//   write    received → [buffers → fetching] → storage → answering
//   read     received → [buffers] → storage → answering (data and completion in one chain)
//   compare  received → buffers → fetching → storage → answering
// In brackets: only when the data did not come in the capsule, or cannot be gathered in place.
//
// Thread safety: the queue's worker. Ownership: the queue's; nothing here allocates.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "examples/engine/staging.h"
#include "examples/nvmf/target/controller.h"
#include "examples/nvmf/target/io_command.h"
#include "examples/nvmf/target/limits.h"
#include "examples/nvmf/target/sgl.h"
#include "examples/protocol/nvme/wire.h"
#include "examples/storage/storage.h"
#include "mrpool/rw.h"
#include "mrpool/work.h"

namespace mrpool::nvmf_target {

class Queue;
struct ChannelSlot;

// A receive and the buffer it fills.
struct Receive : Completion {
  explicit Receive(Done done) : Completion(done) {}
  Queue* queue = nullptr;
  std::byte* buffer = nullptr;
  bool posted = false;
};

// What a command's data is for.
enum class Purpose : uint8_t { kIo, kConnect, kAdminReply };

enum class Stage : uint8_t {
  kFree,
  kBuffers,    // waits for staging memory
  kFetching,   // RDMA READs of the host's data
  kStorage,    // the backend works on it
  kSending,    // RDMA WRITEs to the host, the completion behind them
  kAnswering,  // only the completion is left
  kJoining,    // a Connect that waits for an earlier connection's end
  kParked,     // an Asynchronous Event Request
  kAborting,   // an Abort that waits for its victim
};

// Who wants to know when a command is over: an Abort of some queue.
struct AbortWaiter {
  QueueRef queue;
  uint32_t slot = 0;
  uint32_t serial = 0;
  bool set = false;
};

struct Command {
  // Storage of the longest transfer, twice for Compare.
  static constexpr uint32_t kMaxChunks = 2 * (kMaxTransfer / BufferPool::kChunk);

  struct Send : Completion {
    explicit Send(Done done, Command& c) : Completion(done), command(c) {}
    Command& command;
  };
  struct Transfer : RwOperation {
    explicit Transfer(Done done, Command& c) : RwOperation(done), command(c) {}
    Command& command;
  };
  struct Request : storage::Io {
    explicit Request(Done done_fn, Command& c) : Io(done_fn), command(c) {}
    Command& command;
  };

  Command(Completion::Done sent, RwOperation::Done transferred, storage::Io::Done stored)
      : send(sent, *this), transfer(transferred, *this), io(stored, *this) {}

  // Set once.
  Queue* queue = nullptr;
  uint32_t slot = 0;
  nvme::Cqe* cqe = nullptr;  // in registered memory

  // Of the command under way.
  Stage stage = Stage::kFree;
  bool owns_id = false;       // its command id is marked as in use
  bool aborted = false;       // an Abort came in time: nothing more is started
  bool can_gather = false;    // the namespace's memory is registered
  bool holding = false;       // a kHold of the storage has to be released
  bool transferring = false;  // `transfer` is under way
  bool sending = false;       // `send` is under way
  uint32_t serial = 0;        // counts the uses of this slot
  Purpose purpose = Purpose::kIo;
  uint16_t chunk_count = 0;    // held, or waited for in Stage::kBuffers
  uint16_t chunk_base = 0;     // Compare: first chunk of what is read back
  uint32_t descriptor = 0;     // of the SGL, next to transfer
  uint64_t moved = 0;          // bytes transferred by earlier descriptors
  uint32_t step = 0;           // next range (Dataset Management), nsid done (Flush of all)
  Receive* receive = nullptr;  // the capsule, until its buffer is posted again
  ChannelSlot* channel = nullptr;
  const std::byte* gather = nullptr;  // read data in place, instead of chunks
  Lkey gather_key;
  AbortWaiter waiter;
  std::vector<std::byte> reply;     // admin data, until staging memory is there for it
  Command* next_waiting = nullptr;  // for buffers
  nvme::Sqe sqe;
  DataBuffers data;
  IoPlan plan;
  std::array<uint16_t, kMaxChunks> chunks;
  std::array<iovec, kMaxChunks> iov;

  WorkRequest answer;
  Sge answer_sge;

  Send send;
  Transfer transfer;
  Request io;
};

}  // namespace mrpool::nvmf_target
