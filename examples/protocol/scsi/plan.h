// What a logical unit answers a command with: done, or which blocks to move.
//
// Thread safety: values. Units: blocks and bytes, as named.
#pragma once

#include <cstdint>

#include "examples/protocol/scsi/sense.h"

namespace mrpool::scsi {

struct Range {
  uint64_t lba = 0;
  uint64_t blocks = 0;
};

struct Plan {
  enum class Kind : uint8_t {
    kDone,             // `status`, `sense`; data-in is what begin() produced
    kParameters,       // fetch `data_out` bytes, then finish()
    kRead,             // blocks → data-in
    kWrite,            // data-out → blocks
    kWriteAndVerify,   // and read them back; `compare` against what was written
    kVerify,           // read; `compare` against data-out
    kCompareAndWrite,  // first half of data-out against the blocks, then the second half
    kWriteSame,        // one block of data-out over all blocks
    kZero,             // zeroes over all blocks
    kMark,             // marks the blocks as uncorrectable
    kUnmap,            // `ranges`
    kReserve,          // LogicalUnit::reserve_out, where it may block
    kCopy,             // LogicalUnit::begin_copy, then what the CopyRun names
    kFlush,
  };
  Kind kind = Kind::kDone;
  Status status = Status::kGood;
  Sense sense{};
  uint64_t lba = 0;
  uint64_t blocks = 0;
  uint64_t data_out = 0;  // bytes the initiator has to send
  bool fua = false;
  bool compare = false;
  bool deallocate = false;  // kWriteSame of zeroes, kZero

  bool reads_medium_into_data_in() const { return kind == Kind::kRead; }
};

inline Plan good() { return {}; }
inline Plan check(const Sense& sense) {
  return {.status = Status::kCheckCondition, .sense = sense};
}
// The command goes on with finish() once its parameter list is there.
inline Plan parameters(uint64_t bytes) {
  return {.kind = Plan::Kind::kParameters, .data_out = bytes};
}

}  // namespace mrpool::scsi
