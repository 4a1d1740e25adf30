// Registered memory that the program frees or unmaps: a callback runs before it is gone.
//
//   the program's free(), munmap() and their like ─▶ MemoryWatch ─▶ told(Loss)
//
// A block of the heap counts when it holds a region as a whole: one that shares pages with a region
// that was registered in whole pages does not. What is unmapped counts by every byte.
//
// While no memory is registered a call costs one load and one branch.
//
// Thread safety: any thread, and signal handlers for calls that are safe there. A forked child
// watches nothing. No call waits for another: where the table is in use for long a loss is missed.
// Ownership: lives as long as the process.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>

namespace mrpool::watch {

struct Range {
  uintptr_t begin = 0;
  uintptr_t end = 0;
};
inline Range range_of(const void* start, size_t bytes) {
  const auto begin = reinterpret_cast<uintptr_t>(start);
  return {begin, begin + bytes};
}

// The program's call that takes memory away.
struct Call {
  const char* name;    // "free"
  const void* caller;  // where it returns to
};
struct Loss {
  Call call;
  Range memory;
  bool block;  // of the heap: only regions that lie in it as a whole are concerned
};
inline bool concerns(const Loss& loss, Range region) {
  return loss.block ? region.begin >= loss.memory.begin && region.end <= loss.memory.end
                    : region.begin < loss.memory.end && region.end > loss.memory.begin;
}
using Told = void (*)(const Loss& loss);

// What the checker sees of it, in whose object it is not.
class Watch {
 public:
  // Before memory is added.
  virtual void start(Told told) = 0;
  virtual void add(Range region) = 0;
  virtual void remove(Range region) = 0;

 protected:
  ~Watch() = default;
};

// Looks up what free() needs, which it must not do itself: the lookup frees memory.
void prepare_heap_calls();

class MemoryWatch final : public Watch {
 public:
  static MemoryWatch& get() { return instance_; }

  void start(Told told) override;
  void add(Range region) override;
  void remove(Range region) override;

  // Whether there is anything to ask for: what calls look at first.
  bool active() const { return count_.load(std::memory_order_relaxed) != 0; }
  // Whether a region may lie there, by the first and the last of all.
  bool may_touch(Range memory) const {
    return memory.begin < highest_.load(std::memory_order_relaxed) &&
           memory.end > lowest_.load(std::memory_order_relaxed);
  }
  // Reports the loss if it concerns a region. errno stays.
  void lose(const Loss& loss);
  bool concerns(const Loss& loss);
  // Of a forked child.
  void forget();

 private:
  using Regions = std::multimap<uintptr_t, uintptr_t>;  // begin → end

  constexpr MemoryWatch() = default;
  bool enter(bool wait);
  void leave();
  void set_bounds();

  // There before any constructor and never destroyed: programs free until the process is gone.
  static constinit MemoryWatch instance_;

  Told told_ = nullptr;
  std::atomic<bool> held_{false};
  Regions* regions_ = nullptr;
  std::atomic<size_t> count_{0};
  std::atomic<uintptr_t> lowest_{UINTPTR_MAX};
  std::atomic<uintptr_t> highest_{0};
};

}  // namespace mrpool::watch
