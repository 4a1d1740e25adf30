// The one place where received payload enters registered memory.
//
// All data of a peer, tagged or untagged, passes through copy(), or is received into the memory
// that direct() has returned. A device with the ordering sanitizer withholds here what is
// for regions with relaxed ordering; moments that order data are passed on to it.
//
// Thread safety: the reactor of the Qp it belongs to, inside a Quiescence section.
#pragma once

#include <sys/uio.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <span>
#include <utility>

#include "transport/uiwarp/key_table.h"
#include "transport/uiwarp/sanitizer.h"

namespace mrpool::uiwarp {

class Placement {
 public:
  using Kind = WithheldData::Kind;

  // Null: everything is placed at once.
  explicit Placement(std::unique_ptr<WithheldData> withheld) : withheld_(std::move(withheld)) {}

  // Places `length` bytes, part of a segment of `whole`, at the start of `range`. False when a base
  // registration below has ended.
  bool copy(const KeyRange& range, const std::byte* from, size_t length, size_t whole, Kind kind) {
    if (!bases_live(range, length)) return false;
    if (withheld_ != nullptr && range.relaxed()) [[unlikely]] {
      visit_memory(range, length, [&](std::byte* to, size_t bytes) {
        withheld_->hold(to, from, bytes, whole, kind, range.stag);
        from += bytes;
        return true;
      });
      return true;
    }
    visit_memory(range, length, [&from](std::byte* to, size_t bytes) {
      std::memcpy(to, from, bytes);
      from += bytes;
      return true;
    });
    return true;
  }

  // Appends the memory of `range` to `out` from `count` on, as much as fits; returns how many bytes
  // that is. 0: nothing may be received there directly.
  size_t direct(const KeyRange& range, size_t length, std::span<iovec> out, size_t& count) {
    if (withheld_ != nullptr && range.relaxed()) [[unlikely]]
      return 0;
    if (!bases_live(range, length)) return 0;
    size_t total = 0;
    visit_memory(range, length, [&](std::byte* to, size_t bytes) {
      if (count == out.size()) return false;
      out[count++] = {to, bytes};
      total += bytes;
      return true;
    });
    return total;
  }

  // Where the data placed so far ends, for a completion that orders it.
  OrderPoint here(bool only_reads = false) const {
    if (withheld_ == nullptr) return {};
    return {.stamp = withheld_->stamp(), .only_reads = only_reads};
  }
  WithheldData* withheld() { return withheld_.get(); }

 private:
  std::unique_ptr<WithheldData> withheld_;
};

}  // namespace mrpool::uiwarp
