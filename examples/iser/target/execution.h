// Carries out a plan on storage: the asynchronous half of a command.
//
// An Execution is embedded in the command it belongs to. Plain reads and writes are one storage
// request over the command's own buffers and allocate nothing; commands that compare or repeat a
// pattern work through a scratch buffer of at most 64 KiB that they hold while they run.
//
// Thread safety: the thread of the channel. Ownership: store, buffers and ranges stay until the
// execution finished.
#pragma once

#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "examples/iser/target/range_gate.h"
#include "examples/iser/target/store.h"
#include "examples/protocol/scsi/logical_unit.h"
#include "examples/storage/storage.h"
#include "mrpool/callback.h"

namespace mrpool::iser_target {

// The sense data a storage error stands for (examples/storage/storage.h).
scsi::Sense sense_of(storage::Error error);

class Execution {
 public:
  using Done = void (*)(Execution& self);
  static constexpr size_t kMaxBuffers = 33;

  explicit Execution(Done done);
  ~Execution();
  Execution(const Execution&) = delete;
  Execution& operator=(const Execution&) = delete;

  // Runs `plan` (any kind but kDone, kParameters and kReserve). `data` are the data-out bytes, or
  // the place for kRead's. True: finished at once, done() will not be called.
  [[nodiscard]] bool start(Store& store, const scsi::Plan& plan, std::span<const iovec> data,
                           std::span<const scsi::Range> ranges = {});

  // Ends one that has not begun, since a late request is at its blocks (storage/late_ranges.h).
  // True: it has ended, and done() will not be called.
  [[nodiscard]] bool take_back();
  // Nobody waits for it any more: it begins nothing after what the store has, where it is late from
  // here on. done() still comes, until which buffers and ranges stay.
  void give_up();

  scsi::Status status() const { return status_; }
  const scsi::Sense& sense() const { return sense_; }

 private:
  enum class Step : uint8_t { kIo, kReadBack, kCompare, kWriteHalf, kPattern, kRanges, kEnd };

  void admitted();
  void stored();
  void passed();
  void prepare();
  // Past late requests, then through the gate. False: it waits.
  bool enter();
  // The request to the store; true: it is answered.
  bool hand_over();
  void leave_gate();
  // Goes on until the end (true) or until storage has to be waited for (false).
  bool run();
  bool submit(storage::Op op, uint64_t offset, uint64_t length, std::span<const iovec> buffers);
  // The end of the part under way: what comes next.
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
  Bound<RangeGate::Pass, &Execution::admitted> pass_{*this};
  Bound<storage::LateRanges::Wait, &Execution::passed> behind_{*this};
  Bound<storage::Io, &Execution::stored> io_{*this};
  storage::LateRanges::Range late_;
  Store* store_ = nullptr;
  scsi::Plan plan_{};
  std::span<const iovec> data_;
  std::span<const scsi::Range> ranges_;
  Step step_ = Step::kEnd;
  bool entered_ = false;
  bool gated_ = false;      // is in the gate, or waits there
  bool submitted_ = false;  // the store has io_
  bool given_up_ = false;
  bool is_late_ = false;     // as late_ says
  uint64_t done_bytes_ = 0;  // of the part that works in chunks
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
