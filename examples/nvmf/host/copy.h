// Copies between a file and a range of a namespace, several chunks under way at once and
// the file's order kept, so that pipes work.
//
// Units: bytes. A range that ends inside a logical block is completed by reading that block first.
// Thread safety: the reactor's thread, which waits for no file.
// Ownership: file, session and pd are the caller's.
#pragma once

#include <cstdint>
#include <functional>

#include "absl/status/statusor.h"
#include "examples/load/file_worker.h"
#include "examples/load/range.h"
#include "examples/nvmf/host/session.h"

namespace mrpool::nvme::host {

struct CopyOptions {
  NamespaceInfo ns;
  load::Range range{};  // without a size: to the end of the input, or of the namespace
  uint32_t chunk = 0;   // a multiple of the block size, at most the controller's limit
  uint32_t depth = 1;
  std::function<bool(uint64_t)> progress = [](uint64_t) { return true; };  // false: stop
};

// Bytes copied, of a range that load::check_range() has found. DataLoss names the range and the
// status of the command that failed.
Async<absl::StatusOr<uint64_t>> copy_in(Queue& queue, Pd& pd, load::FileWorker& from,
                                        CopyOptions options);
Async<absl::StatusOr<uint64_t>> copy_out(Queue& queue, Pd& pd, load::FileWorker& to,
                                         CopyOptions options);

}  // namespace mrpool::nvme::host
