// Which handle guards which bytes: ranges that do not overlap. A later range replaces earlier ones
// where it covers them.
//
// Thread safety: none. Ownership: values.
#pragma once

#include <algorithm>
#include <iterator>
#include <map>
#include <unordered_map>
#include <utility>
#include <vector>

#include "transport/checker/guard/guard.h"

namespace mrpool::guard {

class IntervalMap {
 public:
  // `range` belongs to `handle` from now on. Ranges that it covers in part keep their other bytes.
  void add(Range range, Handle handle) {
    cut(range);
    pieces_[range.begin] = {range.end, handle};
    begins_[handle].push_back(range.begin);
  }
  // Removes `handle`'s remaining ranges and returns them.
  std::vector<Range> take(Handle handle) {
    std::vector<Range> out;
    const auto found = begins_.find(handle);
    if (found == begins_.end()) return out;
    for (const uintptr_t begin : found->second) {
      const auto piece = pieces_.find(begin);
      if (piece == pieces_.end() || piece->second.handle != handle) continue;
      out.push_back({begin, piece->second.end});
      pieces_.erase(piece);
    }
    begins_.erase(found);
    return out;
  }
  // Takes out all that lies in `range`; calls visit(Range, Handle) for what is taken.
  template <typename Visit>
  void clear(Range range, Visit&& visit) {
    for (auto it = first_in(range); it != pieces_.end() && it->first < range.end;) {
      const Range piece{it->first, it->second.end};
      visit(Range{std::max(piece.begin, range.begin), std::min(piece.end, range.end)},
            it->second.handle);
      ++it;
    }
    cut(range);
  }
  // 0: nobody guards that byte.
  Handle at(uintptr_t address) const {
    auto it = pieces_.upper_bound(address);
    if (it == pieces_.begin()) return 0;
    --it;
    return address < it->second.end ? it->second.handle : 0;
  }
  template <typename Visit>
  void for_each(Visit&& visit) const {
    for (const auto& [begin, piece] : pieces_) visit(Range{begin, piece.end});
  }

 private:
  struct Piece {
    uintptr_t end;
    Handle handle;
  };
  using Pieces = std::map<uintptr_t, Piece>;

  Pieces::iterator first_in(Range range) {
    auto it = pieces_.upper_bound(range.begin);
    if (it != pieces_.begin() && std::prev(it)->second.end > range.begin) --it;
    return it;
  }
  void cut(Range range) {
    for (auto it = first_in(range); it != pieces_.end() && it->first < range.end;) {
      const auto [begin, piece] = *it;
      it = pieces_.erase(it);
      if (begin < range.begin) pieces_[begin] = {range.begin, piece.handle};
      if (piece.end > range.end) {
        it = pieces_.emplace(range.end, piece).first;
        begins_[piece.handle].push_back(range.end);
      }
    }
  }

  Pieces pieces_;
  std::unordered_map<Handle, std::vector<uintptr_t>> begins_;  // some may be another's by now
};

}  // namespace mrpool::guard
