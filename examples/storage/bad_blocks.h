// The blocks of a store that a host has marked as uncorrectable, until something is written there:
// NVMe Write Uncorrectable ([nvm] 3.2.7), SCSI WRITE LONG with WR_UNCOR (SBC-3 §5.52).
//
// Who submits a request asks any() first. A read of a marked block fails with Error::kMarkedBad and
// does not reach the store. A write that meets a mark at its begin removes the marks of its range
// when the store has answered, before it is answered itself. So a read that begins after the
// acknowledgement of a write finds no older mark. A write that met no mark removes none: a mark
// that was set meanwhile counts as later.
//
// The marks belong to the store, wherever it is served. With a state directory they are kept there,
// in a file for each store, and every change is durable before its command is answered. Otherwise
// they last as long as the store is served. The bytes of marks beyond the end of a store that has
// shrunk stay marked; they give way when the table is full.
//
// Thread safety: shared objects: safe, but keep_at() comes before any other thread has the store.
// mark() and clear() wait for the disk when kept(): not on a reactor's thread. Reads of the table
// never wait for that. Ownership: shared by the volumes of a store. Units: bytes.
// Memory ordering: a request that a host sent after the answer to mark() sees the mark, as the
// answer and the request order the one before the other.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"

namespace mrpool::storage {

enum class Error : uint8_t;
struct Geometry;
class StoreIdentity;
class Volume;

class BadBlocks {
 public:
  // Blocks of one store that may be marked at the same time: what one NVMe command can name.
  static constexpr uint64_t kMaxBlocks = 65536;

  struct Range {
    uint64_t offset = 0;
    uint64_t length = 0;
    bool operator==(const Range&) const = default;
  };

  bool any() const { return any_.load(std::memory_order_acquire); }
  // The first marked byte of the range.
  std::optional<uint64_t> first_in(uint64_t offset, uint64_t length) const;

  // True: changes are written to a file.
  bool kept() const { return !path_.empty(); }
  // kMarksFull: too many blocks would be marked; kMarkNotKept: the file cannot be written. Nothing
  // has changed then. Requires a range inside the store.
  [[nodiscard]] Error mark(uint64_t offset, uint64_t length, const Geometry& geometry);
  [[nodiscard]] Error clear(uint64_t offset, uint64_t length);

  // Reads the file, and writes all changes to it from now on. DataLoss: it is not what this class
  // has written. A second call has no effect.
  absl::Status keep_at(const std::string& path);

  // The content of the file: a line for each range, in order; empty without any.
  static std::string format(std::span<const Range> ranges);
  // Nothing: format() does not write such a text.
  static std::optional<std::vector<Range>> parse(std::string_view text);

 private:
  Error install(std::vector<Range> next);

  std::string path_;
  std::mutex changing_;  // one change at a time; outside mutex_
  mutable std::mutex mutex_;
  std::vector<Range> ranges_;  // sorted, disjoint; changed with both mutexes held
  // Release when the table changes; acquire in any().
  std::atomic<bool> any_{false};
};

// The file of a store's marks in a state directory. It follows from the store alone: from its
// identity, or from what lasts of that, else from the path of the store.
std::string bad_blocks_file(const StoreIdentity& identity, std::string_view path);

// Keeps the marks of those volumes that may have marks and whose content outlives the process, in
// the state directory; an empty one: nothing is kept. DataLoss names the file. Before the volumes
// are served.
absl::Status keep_bad_blocks(const std::string& directory,
                             std::span<const std::shared_ptr<Volume>> volumes);

}  // namespace mrpool::storage
