// What a task has while it carries out an EXTENDED COPY (copy.cc).
//
// Thread safety: the worker's thread. Ownership: the task owns it.
#pragma once

#include <array>
#include <cstdint>

#include "examples/iser/target/limits.h"
#include "examples/protocol/scsi/copy_run.h"

namespace mrpool::iser_target {

struct UnitHandle;

struct TaskCopy {
  // A unit of the current segment; it counts the task among its users.
  struct Side {
    uint16_t lun = 0;
    UnitHandle* handle = nullptr;
  };

  scsi::CopyRun run;
  std::array<Side, 2> sides{};                  // by scsi::CopySide
  scsi::CopySide at = scsi::CopySide::kSource;  // which the task's request is for
  bool ended = false;                           // its unit knows the answer
  uint8_t passed = 0;                           // how many of the limits of the current segment

  Side& side(scsi::CopySide which) { return sides[size_t(which)]; }
};

// Staging memory of a copy, and so the longest part.
inline constexpr uint64_t kCopyPart = uint64_t{2} * kChunk;

}  // namespace mrpool::iser_target
