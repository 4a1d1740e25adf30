// The key table: every STag of a device, what memory it opens, to whom and for what.
//
// A STag is a secret permutation of (slot 17 bits, epoch 7 bits) followed by the key part, 8 bits.
// The key part advances at every registration and the epoch when the key part wraps, so a slot
// hands out 32,768 different STags before one comes back; the permutation is drawn at random per
// device, so that knowing one key says nothing of where others are.
//
// A slot is open while `live` holds its STag. Opening: all other fields are written, then `live`
// (release). Looking up: `live` is read (acquire) and compared with the whole STag. Closing: `live`
// is cleared; the fields change again only after Quiescence::synchronize(), or on the one reactor
// that can use them (keys of a FastMr: every other reactor stops at `qp`).
//
// Bounds are checked by subtraction, which cannot wrap:
//   offset = to - base;  to >= base && offset <= length && wanted <= length - offset.
//
// Thread safety: allocate and release: any thread. next_stag: the slot's owner. open, close and
// resolve of base registrations: any thread (resolve inside a Quiescence section). Keys of a
// FastMr: the reactor of their Qp.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <random>
#include <span>
#include <vector>

#include "mrpool/access.h"
#include "mrpool/types.h"
#include "transport/uiwarp/quiescence.h"

namespace mrpool::uiwarp {

struct KeySlot;
class UiwarpFastMr;
class OrderingSanitizer;

// A range of memory of a key, and the base registration that vouches for it.
struct Segment {
  std::byte* memory = nullptr;
  uint64_t length = 0;
  uint64_t offset = 0;            // of its first byte in the key's range
  const KeySlot* base = nullptr;  // null in a base registration
  uint32_t base_stag = 0;
};

struct alignas(64) KeySlot {
  std::atomic<uint32_t> live{0};  // the STag that opens the slot; 0: none
  uint32_t index = 0;
  uint32_t generation = 0;      // epoch and key part of its latest STag; its owner's
  std::atomic<uint64_t> qp{0};  // id of the only Qp that may use it; 0: all of the Pd
  uint64_t pd = 0;
  uint64_t remote_base = 0;  // what a peer calls the first byte
  uint64_t local_base = 0;   // what an Sge calls it
  uint64_t length = 0;
  const Segment* segments = nullptr;
  uint32_t segment_count = 0;
  Access access = Access::kNone;
  UiwarpFastMr* fast = nullptr;  // null in base registrations
};

// Who asks.
struct KeyUser {
  uint64_t pd = 0;
  uint64_t qp = 0;
};

enum class KeyError : uint8_t { kNone, kInvalid, kNotAssociated, kAccess, kBounds, kWrap };

// A range of an open key. Good while `slot->live` still holds `stag`.
struct KeyRange {
  const KeySlot* slot = nullptr;
  uint32_t stag = 0;
  uint64_t offset = 0;  // in the key's range

  bool live() const { return slot->live.load(std::memory_order_acquire) == stag; }
  bool relaxed() const { return !any(slot->access & Access::kDisableRelaxedOrdering); }
};

class KeyTable {
 public:
  static constexpr uint32_t kSlotBits = 17;
  static constexpr uint32_t kMaxSlots = 1u << kSlotBits;

  // `sanitizer`, where there is one, is told of all that ends or opts out.
  explicit KeyTable(uint64_t seed, OrderingSanitizer* sanitizer = nullptr);
  ~KeyTable();
  KeyTable(const KeyTable&) = delete;
  KeyTable& operator=(const KeyTable&) = delete;

  // A slot that is not open and its first STag; null when all are taken.
  KeySlot* allocate(uint32_t& stag);
  // The slot must be closed and synchronized.
  void release(KeySlot* slot);
  // The next STag of a closed slot.
  uint32_t next_stag(KeySlot& slot) const;

  void open(KeySlot& slot, uint32_t stag);
  static void close(KeySlot& slot) { slot.live.store(0, std::memory_order_release); }
  // Returns once no reactor uses what was closed before the call.
  void synchronize();
  Quiescence& quiescence() { return quiescence_; }

  // The slot a STag belongs to whether or not it is open; null when there is none.
  KeySlot* slot_of(uint32_t stag) const {
    const uint32_t index = unscramble(stag >> 8) & (kMaxSlots - 1);
    KeySlot* chunk = chunks_[index / kChunk].load(std::memory_order_acquire);
    return chunk == nullptr ? nullptr : &chunk[index % kChunk];
  }

  // `length` bytes at `to` as a peer calls them, with all of `rights`.
  KeyError resolve_remote(uint32_t stag, uint64_t to, uint64_t length, Access rights,
                          const KeyUser& user, KeyRange& range) const {
    return resolve(stag, to, length, rights, user, /*remote=*/true, range);
  }
  // An Sge as its owner writes it.
  KeyError resolve_local(const Sge& sge, Access rights, const KeyUser& user,
                         KeyRange& range) const {
    return resolve(sge.lkey.value, reinterpret_cast<uintptr_t>(sge.addr), sge.length, rights, user,
                   /*remote=*/false, range);
  }

  OrderingSanitizer* sanitizer() const { return sanitizer_; }
  size_t in_use() const;

 private:
  static constexpr uint32_t kChunk = 1024;
  static constexpr uint32_t kEpochBits = 24 - kSlotBits;

  KeyError resolve(uint32_t stag, uint64_t to, uint64_t length, Access rights, const KeyUser& user,
                   bool remote, KeyRange& range) const {
    const KeySlot* slot = slot_of(stag);
    if (slot == nullptr || stag == 0 || slot->live.load(std::memory_order_acquire) != stag) {
      return KeyError::kInvalid;
    }
    // First of all fields: nobody but the Qp that registered it may look at the rest.
    const uint64_t qp = slot->qp.load(std::memory_order_relaxed);
    if (qp != 0 && qp != user.qp) return KeyError::kNotAssociated;
    if (slot->pd != user.pd) return KeyError::kNotAssociated;
    if (!has(slot->access, rights)) return KeyError::kAccess;
    const uint64_t base = remote ? slot->remote_base : slot->local_base;
    if (length > 0 && length - 1 > ~uint64_t{0} - to) return KeyError::kWrap;
    const uint64_t offset = to - base;
    if (to < base || offset > slot->length || length > slot->length - offset) {
      return KeyError::kBounds;
    }
    range = {slot, stag, offset};
    return KeyError::kNone;
  }

  uint32_t scramble(uint32_t value) const;
  uint32_t unscramble(uint32_t value) const {
    // The inverse of scramble(), step by step; multiplication by odd numbers is invertible modulo
    // 2^24 and x ^ (x >> 12) is its own inverse there.
    value = (value ^ whiten_) & kMask;
    value = (value * inverse_[1]) & kMask;
    value ^= value >> 12;
    value = (value * inverse_[0]) & kMask;
    return value;
  }

  static constexpr uint32_t kMask = 0xffffff;

  Quiescence quiescence_;
  OrderingSanitizer* const sanitizer_;
  uint32_t factor_[2];
  uint32_t inverse_[2];
  uint32_t whiten_;
  std::atomic<KeySlot*> chunks_[kMaxSlots / kChunk] = {};

  mutable std::mutex mutex_;
  std::mt19937_64 random_;
  std::vector<std::unique_ptr<KeySlot[]>> storage_;
  std::vector<uint32_t> free_;
  size_t in_use_ = 0;
};

// The segments that hold `length` bytes of `range`: index of the first one.
inline uint32_t first_segment(const KeyRange& range) {
  const KeySlot& slot = *range.slot;
  // The last segment that starts at or before the offset.
  uint32_t low = 0;
  for (uint32_t high = slot.segment_count; high - low > 1;) {
    const uint32_t middle = (low + high) / 2;
    (slot.segments[middle].offset <= range.offset ? low : high) = middle;
  }
  return low;
}

// True when the base registrations under `length` bytes of `range` have not ended. Inside a
// Quiescence section their memory then stays for the section's length.
inline bool bases_live(const KeyRange& range, uint64_t length) {
  const KeySlot& slot = *range.slot;
  const uint64_t end = range.offset + length;
  for (uint32_t at = first_segment(range); at < slot.segment_count; ++at) {
    const Segment& segment = slot.segments[at];
    if (segment.offset >= end) break;
    if (segment.base != nullptr &&
        segment.base->live.load(std::memory_order_acquire) != segment.base_stag) {
      return false;
    }
  }
  return true;
}

// Calls `visit(memory, bytes)` for the pieces of memory that make up `length` bytes of `range`, in
// order, until it returns false.
template <typename Visit>
void visit_memory(const KeyRange& range, uint64_t length, Visit&& visit) {
  const Segment* segment = &range.slot->segments[first_segment(range)];
  uint64_t within = range.offset - segment->offset;
  while (length > 0) {
    const uint64_t bytes = length < segment->length - within ? length : segment->length - within;
    if (!visit(segment->memory + within, static_cast<size_t>(bytes))) return;
    length -= bytes;
    within = 0;
    ++segment;
  }
}

}  // namespace mrpool::uiwarp
