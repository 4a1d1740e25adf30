// A copy of the program's memory, to detect later whether it changed. Memory that is no longer
// mapped, or that a guard protects, is read without a fault (/proc/thread-self/mem, which outlives
// the main thread).
//
// Thread safety: under the checker's lock.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace mrpool::checker {

struct Piece {
  uintptr_t start = 0;
  size_t length = 0;
  uint32_t lkey = 0;
};

class MemoryCopy {
 public:
  // Of the first `limit` bytes of the pieces. Nothing is kept where they cannot be read.
  void take(const std::vector<Piece>& pieces, size_t limit = ~size_t{0});
  void drop() { *this = {}; }
  // The offset of the first byte that differs now; none also when there is nothing to compare.
  std::optional<size_t> first_change(const std::vector<Piece>& pieces) const;

 private:
  std::vector<std::byte> bytes_;
};

}  // namespace mrpool::checker
