// An EXTENDED COPY under way: which blocks are to be read and written next, and the sense data of
// its failures.
//
//   run.open(source, destination, same_store);     // the segment, when its units are found
//   while (run.part(n)) { read it; write it; run.moved(); }   // until done(), or one fails
//
// A segment is copied in parts. If its blocks overlap within one store, the parts begin at the end
// that makes the outcome that of reading everything before writing anything.
//
// Thread safety: one thread. Clauses: SPC-4 5.17.7.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>

#include "examples/protocol/scsi/plan.h"
#include "examples/protocol/scsi/third_party_copy.h"

namespace mrpool::scsi {

enum class CopySide : uint8_t { kSource, kDestination };

class CopyRun {
 public:
  CopyRun() = default;
  explicit CopyRun(CopyList list) : list_(std::move(list)) {}

  const CopyList& list() const { return list_; }
  // Every segment is copied.
  bool done() const { return segment_ == list_.segments.size(); }
  bool is_open() const { return open_; }

  // The name of a unit of the current segment, or what ends the copy because there is none.
  // Requires !done().
  std::optional<Sense> name(CopySide side, const CopyUnit*& name) const;

  struct Place {
    uint32_t block_size = 0;
    uint64_t blocks = 0;
  };
  // Begins the current segment; or what is wrong with it.
  std::optional<Sense> open(const Place& source, const Place& destination, bool same_store);
  // Bytes of the open segment.
  uint64_t segment_bytes() const { return bytes_; }

  // The next part of the open segment, of at most `most` bytes, a multiple of every block size.
  // moved(): it is written.
  void part(uint64_t most);
  uint64_t part_bytes() const { return part_; }
  Range blocks(CopySide side) const;
  void moved();

  // The sense data for a unit of the current segment that is missing, and for one that did not
  // carry out a part.
  Sense unreachable(CopySide side) const;
  Sense refused(CopySide side, const Plan& answer) const;

  // Segments, with the current one, and bytes in their order.
  uint16_t segments_processed() const;
  uint64_t copied() const { return copied_ + in_order(); }

 private:
  const CopySegment& segment() const { return list_.segments[segment_]; }
  const CopyUnit& unit(CopySide side) const;
  Sense aborted(const Sense& code) const;
  uint64_t in_order() const { return descending_ ? 0 : moved_; }

  CopyList list_{};
  size_t segment_ = 0;
  uint64_t copied_ = 0;  // by the segments before this
  // Of the current segment, while it is open.
  bool open_ = false;
  bool descending_ = false;
  Place places_[2]{};  // by CopySide
  uint64_t bytes_ = 0;
  uint64_t moved_ = 0;
  uint64_t part_ = 0;
};

}  // namespace mrpool::scsi
