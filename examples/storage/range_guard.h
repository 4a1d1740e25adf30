// Who may touch which part of a RAM volume: many readers or one writer per 16 KiB stripe.
//
// Why: reads gather from the volume's memory while the network takes the bytes (a kHold), so a
// write to the same blocks must wait. Otherwise a reader would see half of each, and a checksum of
// the old bytes would be sent with new ones.
//
// Thread safety: shared objects: safe, lock-free, never blocks: a call either gets the whole range
// or nothing, and the caller tries again later. A refused writer leaves a mark on its whole range
// that keeps new readers out, so that a stream of readers cannot starve it; its caller has to come
// back until it got the range.
// Memory ordering: taking a range (acquire) sees everything done under it before (release).
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <vector>

namespace mrpool::storage {

class RangeGuard {
 public:
  static constexpr uint64_t kStripe = 16 << 10;
  // A writer takes at most this much at once, so that its stripes are distinct words.
  static constexpr uint64_t kMaxExclusive = 1 << 20;

  explicit RangeGuard(uint64_t bytes)
      : words_(std::clamp<uint64_t>((bytes + kStripe - 1) / kStripe, 1, kMaxWords)) {}

  bool try_share(uint64_t offset, uint64_t length) {
    const Range r(offset, length);
    for (uint64_t s = r.first; s <= r.last; ++s) {
      if ((word(s).fetch_add(1, std::memory_order_acquire) & (kWriter | kWanted)) != 0) {
        for (uint64_t undo = r.first; undo <= s; ++undo) {
          word(undo).fetch_sub(1, std::memory_order_relaxed);
        }
        return false;
      }
    }
    return true;
  }
  void unshare(uint64_t offset, uint64_t length) {
    const Range r(offset, length);
    for (uint64_t s = r.first; s <= r.last; ++s) word(s).fetch_sub(1, std::memory_order_release);
  }

  // Whether a writer was refused and waits for readers to end.
  bool wanted(uint64_t offset, uint64_t length) const {
    const Range r(offset, length);
    for (uint64_t s = r.first; s <= r.last; ++s) {
      if ((word(s).load(std::memory_order_relaxed) & kWanted) != 0) return true;
    }
    return false;
  }

  // Requires length <= kMaxExclusive.
  bool try_exclusive(uint64_t offset, uint64_t length) {
    const Range r(offset, length);
    for (uint64_t s = r.first; s <= r.last; ++s) {
      if (take(word(s))) continue;
      // In all of them, or it would wait for readers of one stripe after the other.
      for (uint64_t wanted = r.first; wanted <= r.last; ++wanted) {
        word(wanted).fetch_or(kWanted, std::memory_order_relaxed);
      }
      for (uint64_t undo = r.first; undo < s; ++undo) {
        word(undo).fetch_and(~kWriter, std::memory_order_release);
      }
      return false;
    }
    return true;
  }
  void release_exclusive(uint64_t offset, uint64_t length) {
    const Range r(offset, length);
    for (uint64_t s = r.first; s <= r.last; ++s) {
      word(s).fetch_and(~(kWriter | kWanted), std::memory_order_release);
    }
  }

 private:
  static constexpr uint64_t kMaxWords = 65536;
  static constexpr uint32_t kWriter = 1u << 31;
  static constexpr uint32_t kWanted = 1u << 30;
  static_assert(kMaxExclusive / kStripe + 1 < kMaxWords);

  struct Range {
    Range(uint64_t offset, uint64_t length)
        : first(offset / kStripe), last((offset + (length == 0 ? 0 : length - 1)) / kStripe) {}
    uint64_t first;
    uint64_t last;
  };

  // A word is readers (low bits), kWanted and kWriter. Readers that will back out again may be
  // counted for a moment; the writer then tries once more later.
  static bool take(std::atomic<uint32_t>& word) {
    uint32_t seen = word.load(std::memory_order_relaxed);
    while ((seen & ~kWanted) == 0) {
      if (word.compare_exchange_weak(seen, seen | kWriter, std::memory_order_acquire,
                                     std::memory_order_relaxed)) {
        return true;
      }
    }
    return false;
  }
  std::atomic<uint32_t>& word(uint64_t stripe) { return words_[stripe % words_.size()]; }
  const std::atomic<uint32_t>& word(uint64_t stripe) const {
    return words_[stripe % words_.size()];
  }

  std::vector<std::atomic<uint32_t>> words_;
};

}  // namespace mrpool::storage
