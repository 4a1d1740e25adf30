// The properties that a logical unit reports: its serial number, its identifiers, and its capacity.
//
// An initiator that has begun to read or write a unit reads them again after each unit attention,
// so that another unit at the same LUN does not receive the rest of the data.
//
// All answers of the target are checked. A returned capacity has a valid block size, and its
// product with the number of blocks does not overflow.
//
// Thread safety: the reactor's thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "examples/iser/initiator/attempts.h"
#include "examples/iser/initiator/limits.h"
#include "examples/iser/initiator/session.h"

namespace mrpool::iser {

struct Capacity {
  uint64_t blocks = 0;
  uint32_t block_size = 0;  // a power of two within kSmallestUnitBlock..kLargestUnitBlock
  uint64_t bytes() const { return blocks * block_size; }
  bool operator==(const Capacity&) const = default;
};

struct Unit {
  std::string serial;       // VPD page 80h; empty if the unit has none
  std::string identifiers;  // the unit's designators of VPD page 83h, as received
  Capacity capacity;
  bool operator==(const Unit&) const = default;
};

// Parses the received data of READ CAPACITY(16). Unimplemented: a capacity that this initiator does
// not support. Internal: too short.
absl::StatusOr<Capacity> parse_capacity(std::span<const std::byte> data);
// The part of a VPD page after its header, limited by the received data and by the page's length.
std::span<const std::byte> page_data(std::span<const std::byte> page);
// The designators of VPD page 83h that identify the unit, without those of a port or the target.
std::string unit_designators(std::span<const std::byte> list);
// OK if both are equal; else Aborted names the change.
absl::Status check_same(const Unit& was, const Unit& is);
// The same for the result of a UnitReader: a unit that can no longer be read has changed too.
// Returns the session's error if it was lost.
absl::Status check_again(const Unit& was, const absl::StatusOr<Unit>& is);

// READ(16) or WRITE(16) of `blocks` blocks.
scsi::Cdb transfer_cdb(bool write, uint64_t lba, uint32_t blocks);

// Reads all properties, one command at a time.
class UnitReader {
 public:
  static constexpr uint32_t kBuffer = 512;  // bytes it needs
  using Done = std::function<void(absl::StatusOr<Unit>)>;

  // `buffer` is registered with the session's Pd; it and the session outlive the reader.
  UnitReader(Session& session, Reactor& reactor, uint64_t lun, const Sge& buffer);
  UnitReader(const UnitReader&) = delete;
  UnitReader& operator=(const UnitReader&) = delete;

  // One at a time. NotFound: the unit does not exist.
  void read(Done done);
  // Ends the wait before a retry.
  void hurry();

 private:
  void start_over();
  void ask();
  void submit() { session_.submit(command_); }
  void answered();
  absl::Status take();
  void finish(absl::StatusOr<Unit> result);
  std::span<const std::byte> data() const { return {buffer_.addr, command_.transferred}; }

  Session& session_;
  Reactor& reactor_;
  const Sge buffer_;
  Bound<Command, &UnitReader::answered> command_{*this};
  Bound<Timer, &UnitReader::submit> retry_{*this};
  Attempts attempts_;
  size_t step_ = 0;
  Unit unit_;
  Done done_;
};

}  // namespace mrpool::iser
