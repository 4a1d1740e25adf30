// The one place where received payload enters registered memory.
//
// Everything a peer sends, tagged or untagged, either passes through copy() or was told by direct()
// where the socket may put it itself.
//
// Thread safety: the reactor of the Qp it belongs to, inside a Quiescence section.
#pragma once

#include <sys/uio.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <span>

#include "transport/uiwarp/key_table.h"

namespace mrpool::uiwarp {

class Placement {
 public:
  // Places `length` bytes at the start of `range`. False when a base registration below has ended.
  bool copy(const KeyRange& range, const std::byte* from, size_t length) {
    if (!bases_live(range, length)) return false;
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
};

}  // namespace mrpool::uiwarp
