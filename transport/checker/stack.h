// Where the program is: the return addresses of a call, captured cheaply and resolved to functions,
// files and lines only when they are printed (symbols.h).
//
// Frames of this object (libmrpool-verbs.so) are left out: the first frame is the program's.
//
// Thread safety: any thread; capture() takes no lock of ours and needs no heap.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace mrpool::checker {

class Stack {
 public:
  static constexpr size_t kMaxFrames = 16;

  // Of the caller.
  static Stack capture();
  // Of code that was interrupted at `pc`, or to which a call returns; what called it follows from
  // the caller's own stack, which is what a signal handler wants.
  static Stack capture_from(uintptr_t pc);

  bool empty() const { return count_ == 0; }
  std::span<const uintptr_t> frames() const { return {frames_.data(), count_}; }
  void push(uintptr_t pc) {
    if (count_ < kMaxFrames) frames_[count_++] = pc;
  }

  friend bool operator==(const Stack& a, const Stack& b) {
    return std::ranges::equal(a.frames(), b.frames());
  }
  friend bool operator<(const Stack& a, const Stack& b) {
    return std::ranges::lexicographical_compare(a.frames(), b.frames());
  }

 private:
  std::array<uintptr_t, kMaxFrames> frames_;
  size_t count_ = 0;
};

}  // namespace mrpool::checker
