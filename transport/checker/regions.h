// The program's memory regions: those that are, and the last that were.
//
// Thread safety: under the checker's lock.
#pragma once

#include <infiniband/verbs.h>

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>

#include "transport/checker/stack.h"

namespace mrpool::checker {

struct Region {
  uint32_t lkey = 0;
  uint32_t rkey = 0;
  uintptr_t start = 0;
  size_t length = 0;
  unsigned access = 0;   // as asked for, in user verbs
  unsigned used = 0;     // of the remote rights
  bool written = false;  // by peers, through its own key or a window's
  Stack made;
  Stack ended;  // empty: it is

  uintptr_t end() const { return start + length; }
  // What peers mean by that address.
  uintptr_t memory_at(uint64_t address) const {
    return (access & IBV_ACCESS_ZERO_BASED) != 0 ? start + address : address;
  }
};

// A memory window, as the program bound it last under that key.
struct Window {
  uint32_t rkey = 0;
  uint32_t lkey = 0;  // of its region
  uintptr_t start = 0;
  bool zero_based = false;
  Stack bound;

  uintptr_t memory_at(uint64_t address) const { return zero_based ? start + address : address; }
};

// "MR lkey 0x12 (4096 bytes at 0x7f...)"
std::string to_string(const Region& region);

class Regions {
 public:
  void add(const ibv_mr& mr, unsigned access, const Stack& made);
  // What it was, if it was known.
  std::optional<Region> remove(uint32_t lkey, const Stack& ended);

  // Null when there is none now.
  Region* find_local(uint32_t lkey);
  Region* find_remote(uint32_t rkey);
  // Null when it never was, or so long ago that it is forgotten.
  const Region* find_ended(uint32_t key) const;

  void bind(const Window& window);
  // Null when none has or had it, or so long ago that it is forgotten.
  const Window* find_window(uint32_t rkey) const;

  template <class Visit>
  void for_each(const Visit& visit) {
    for (auto& [lkey, region] : live_) visit(region);
  }
  void clear();

 private:
  static constexpr size_t kRemembered = 4096;

  std::map<uint32_t, Region> live_;
  std::unordered_map<uint32_t, uint32_t> by_rkey_;  // → lkey
  std::deque<Region> ended_;
  std::unordered_map<uint32_t, Window> windows_;  // by their key
  std::deque<uint32_t> bound_;                    // their keys, the oldest first
};

}  // namespace mrpool::checker
