// An active SCSI command, from its PDU to its response.
//
// Thread safety: the worker's thread. Ownership: the link owns it; a task is free, or used by its
// connection.
#pragma once

#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "examples/engine/throttle.h"
#include "examples/iser/target/copy.h"
#include "examples/iser/target/drain.h"
#include "examples/iser/target/execution.h"
#include "examples/iser/target/limits.h"
#include "examples/iser/target/unit.h"
#include "examples/protocol/iscsi/iser_header.h"
#include "examples/protocol/iscsi/pdu.h"
#include "examples/protocol/scsi/logical_unit.h"

namespace mrpool::iser_target {

class Connection;

struct Task {
  enum class State : uint8_t {
    kFree,
    kUnsolicited,  // more Data-Out will follow
    kHeld,         // a limit holds it back
    kWaiting,      // for staging memory
    kFetching,     // RDMA READ
    kExecuting,    // storage
    kResponding,   // the answer, and the RDMA WRITE before it
    kLate,         // ended for its initiator; storage still works on it
  };
  // Data that came in a PDU, still in its receive buffer.
  struct Piece {
    void* receive = nullptr;
    std::span<std::byte> data{};
  };

  struct Callbacks {
    Execution::Done executed;
    engine::HeldCommand::Go released;
    mrpool::Task::Run copy_on;
  };
  explicit Task(const Callbacks& calls)
      : held(*this, calls.released), work(*this, calls.executed), again(*this, calls.copy_on) {}
  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;

  State state = State::kFree;
  bool aborted = false;  // ends without an answer, or with TASK ABORTED
  bool tell_abort = false;
  bool late = false;          // has ended, but storage still works on it
  Nanoseconds abort_asked{};  // since `aborted`
  Connection* connection = nullptr;
  iscsi::ScsiCommand pdu;
  iscsi::IserControl iser;

  UnitHandle* handle = nullptr;          // null: the LUN does not exist
  engine::IoAccount* account = nullptr;  // counts it when it is answered
  Nanoseconds began{};                   // with `account`
  bool storage_failed = false;
  scsi::Plan plan;
  std::vector<uint8_t> data_in;  // data that the device server generated
  std::vector<scsi::Range> ranges;

  std::array<Piece, kMaxPieces> pieces;
  uint32_t piece_count = 0;
  uint32_t unsolicited = 0;  // bytes in pieces
  uint32_t data_sn = 0;      // of the next Data-Out

  // Bytes to transfer: to the target for data-out, to the initiator for data-in.
  uint64_t transfer = 0;
  iscsi::Residual residual = iscsi::Residual::kNone;
  uint32_t residual_count = 0;

  std::array<uint16_t, kMaxChunks> chunks;  // staging memory, in order
  uint32_t chunk_count = 0;
  uint64_t staged = 0;        // bytes in the chunks
  uint64_t fetch_offset = 0;  // offset of the solicited data in them
  std::array<iovec, kMaxChunks + kMaxPieces> vectors;
  uint32_t vector_count = 0;

  // The answer as sent, headers first.
  std::array<std::byte, kHeaders + 2 + scsi::kMaxSenseSize + 2> response;
  uint32_t response_size = 0;

  std::vector<std::shared_ptr<Drain>> drains;
  Task* next_waiting = nullptr;  // staging's queue

  struct Held : engine::HeldCommand {
    Held(Task& owner, Go go) : HeldCommand(go), task(owner) {}
    Task& task;
  };
  Held held;
  uint8_t passed = 0;         // how many of the limits that concern it (throttling.cc)
  bool waited = false;        // a limit has held it back
  Nanoseconds waits_since{};  // while it is held

  struct Work : Execution {
    Work(Task& owner, Execution::Done done) : Execution(done), task(owner) {}
    Task& task;
  };
  Work work;

  std::unique_ptr<TaskCopy> copy;  // of an EXTENDED COPY under way
  struct Again : mrpool::Task {
    Again(iser_target::Task& owner, Run run) : mrpool::Task(run), task(owner) {}
    iser_target::Task& task;
  };
  Again again;  // between two parts of a copy
};

}  // namespace mrpool::iser_target
