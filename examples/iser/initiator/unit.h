// What a logical unit says it is: its serial number, its identifiers, and its shape.
//
// An initiator that has begun to read or write a unit reads this again whenever the target reports
// a unit attention: another unit behind the same LUN must not get the rest of the data.
//
// Everything a target sends is checked: what is returned has a block size and a number of blocks
// whose product fits.
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
  std::string serial;       // VPD page 80h; empty where the unit has none
  std::string identifiers;  // designators of VPD page 83h that are the unit's, as they came
  Capacity capacity;
  bool operator==(const Unit&) const = default;
};

// The data of READ CAPACITY(16), as far as it came. Unimplemented: a shape no initiator of ours can
// use; Internal: too short.
absl::StatusOr<Capacity> parse_capacity(std::span<const std::byte> data);
// The part of a VPD page behind its header that came and that the page counts as its own.
std::span<const std::byte> page_data(std::span<const std::byte> page);
// The designators of VPD page 83h that name the unit and not a port or the target.
std::string unit_designators(std::span<const std::byte> list);
// OK when `is` is `was`; else Aborted says what has changed.
absl::Status check_same(const Unit& was, const Unit& is);
// The same of what a UnitReader found: a unit that does not answer as one has changed too. The
// session's error when it was lost.
absl::Status check_again(const Unit& was, const absl::StatusOr<Unit>& is);

// READ(16) or WRITE(16) of `blocks` blocks.
scsi::Cdb transfer_cdb(bool write, uint64_t lba, uint32_t blocks);

// Asks for all of it, one command after the other.
class UnitReader {
 public:
  static constexpr uint32_t kBuffer = 512;  // bytes it needs
  using Done = std::function<void(absl::StatusOr<Unit>)>;

  // `buffer` is registered with the session's Pd; it and the session outlive the reader.
  UnitReader(Session& session, Reactor& reactor, uint64_t lun, const Sge& buffer);
  UnitReader(const UnitReader&) = delete;
  UnitReader& operator=(const UnitReader&) = delete;

  // One at a time. NotFound: there is no such unit.
  void read(Done done);
  // Waits no longer for another attempt.
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
