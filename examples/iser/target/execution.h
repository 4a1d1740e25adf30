// Executes a plan on storage: the asynchronous half of a command.
//
// An Execution is embedded in its command. A plain read or write is one storage request on the
// command's own buffers and allocates no memory. Commands that compare or repeat a pattern use a
// scratch buffer of at most 64 KiB while they run.
//
// Thread safety: the thread of the channel. Ownership: store, buffers and ranges must outlive the
// execution.
#pragma once

#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "examples/iser/target/store.h"
#include "examples/protocol/scsi/logical_unit.h"
#include "examples/storage/range_gate.h"
#include "examples/storage/storage.h"
#include "mrpool/callback.h"

namespace mrpool::iser_target {

// The sense data of a storage error (examples/storage/storage.h).
scsi::Sense sense_of(storage::Error error);

class Execution {
 public:
  using Done = void (*)(Execution& self);
  static constexpr size_t kMaxBuffers = 33;

  explicit Execution(Done done);
  ~Execution();
  Execution(const Execution&) = delete;
  Execution& operator=(const Execution&) = delete;

  // Runs `plan` (any kind but kDone, kParameters and kReserve). `data` has the data-out bytes, or
  // is the buffer for kRead. True: it finished immediately, and done() will not be called.
  [[nodiscard]] bool start(Store& store, const scsi::Plan& plan, std::span<const iovec> data,
                           std::span<const scsi::Range> ranges = {});

  // Cancels an execution that waits because a late request uses its blocks (storage/late_ranges.h).
  // True: it has ended, and done() will not be called.
  [[nodiscard]] bool take_back();
  // The command was given up: after the store's current request, which is late from now on, no
  // other follows. done() is still called; buffers and ranges must stay until then.
  void give_up();

  scsi::Status status() const { return status_; }
  const scsi::Sense& sense() const { return sense_; }

 private:
  enum class Step : uint8_t {
    kIo,
    kReadBack,
    kCompare,
    kWriteHalf,
    kPattern,
    kRanges,
    kMark,
    kEnd
  };

  void admitted();
  void stored();
  void passed();
  void prepare();
  // Waits for late requests, then for the gate. False: it waits.
  bool enter();
  // Submits the request to the store; true: it has completed.
  bool hand_over();
  // Of a store with marked blocks, and for kMark. True: the request has completed.
  bool hand_over_marked();
  // Sets marks, or removes those of the blocks that were written. True: done.
  bool change_marks();
  scsi::Sense sense_of_request() const;
  void leave_gate();
  // Runs until the end (true) or until it must wait for storage (false).
  bool run();
  bool submit(storage::Op op, uint64_t offset, uint64_t length, std::span<const iovec> buffers);
  // Ends the current step and selects the next.
  void advance();
  void fail(const scsi::Sense& sense);
  bool compare_scratch();
  // Fills `slice_` with bytes [offset, offset + length) of the data.
  std::span<const iovec> slice(uint64_t offset, uint64_t length);
  bool data_is_zero() const;
  void fill_pattern();
  uint64_t chunk(uint64_t length) const;
  void use_scratch(uint64_t length);
  void finish();

  Done done_;
  Bound<storage::RangeGate::Pass, &Execution::admitted> pass_{*this};
  Bound<storage::LateRanges::Wait, &Execution::passed> behind_{*this};
  Bound<storage::Io, &Execution::stored> io_{*this};
  storage::LateRanges::Range late_;
  Store* store_ = nullptr;
  scsi::Plan plan_{};
  std::span<const iovec> data_;
  std::span<const scsi::Range> ranges_;
  Step step_ = Step::kEnd;
  bool entered_ = false;
  bool gated_ = false;      // is in the gate, or waits for it
  bool submitted_ = false;  // the store has io_
  bool given_up_ = false;
  bool is_late_ = false;       // late_ is in use
  bool clears_marks_ = false;  // io_ began at marked blocks
  uint64_t bad_at_ = 0;        // the marked byte that a read met
  uint64_t done_bytes_ = 0;    // of the step that works in chunks
  size_t range_ = 0;
  std::array<iovec, kMaxBuffers> slice_{};
  iovec scratch_vector_{};
  struct Free {
    void operator()(void* memory) const;
  };
  std::unique_ptr<void, Free> scratch_;
  scsi::Status status_ = scsi::Status::kGood;
  scsi::Sense sense_{};
};

}  // namespace mrpool::iser_target
