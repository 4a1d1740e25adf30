// The key table: every STag of a device, what memory it opens, to whom and for what.
//
// A STag is a secret permutation of (slot 17 bits, epoch 7 bits), 24 bits, followed by the key
// part, 8 bits. Each registration advances the epoch and draws a new random key part. A slot uses
// 128 different STags before one can be used again, so a stale key does not match the next
// registrations. A peer cannot derive an STag from others, as RFC 5042 requires. Eight bits of it
// come from the operating system's random generator, and the others from a permutation that is
// drawn for each device. A peer that has seen all 128 epochs of a slot must still guess the eight
// bits, and a wrong guess ends the connection.
//
// So all 32 bits change, not only the key part as in verbs: a consumer takes the keys from the Mr
// after each change (mrpool/mr.h).
//
// A slot is open while `live` holds its STag. Opening: all other fields are written, then `live`
// (release). Looking up: `live` is read (acquire) and compared with the whole STag. Closing: `live`
// is cleared. The other fields of a base registration change only after Quiescence::synchronize().
// Those of a FastMr's key change on the one reactor that can use them. Every other reactor stops at
// `qp`, which does not change until the slot is released.
//
// Bounds are checked by subtraction, which cannot wrap:
//   offset = to - base;  to >= base && offset <= length && wanted <= length - offset.
//
// Thread safety: allocate and release: any thread. next_stag: the slot's owner. open, close and
// resolve of base registrations: any thread (resolve inside a Quiescence section). Keys of a
// FastMr: the reactor of their Qp.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "mrpool/access.h"
#include "mrpool/types.h"
#include "transport/uiwarp/key_random.h"
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
  uint32_t epoch = 0;           // counts its STags; its owner's
  std::atomic<uint64_t> qp{0};  // id of the only Qp that may use it; 0: all of the Pd
  uint64_t pd = 0;
  uint64_t remote_base = 0;  // what a peer calls the first byte
  uint64_t local_base = 0;   // what an Sge calls it
  uint64_t length = 0;
  const Segment* segments = nullptr;
  uint32_t segment_count = 0;
  Access access = Access::kNone;
  UiwarpFastMr* fast = nullptr;  // null in base registrations
  // Key parts of STags to come; its owner's. One draw serves many registrations.
  static constexpr uint8_t kKeyParts = 32;
  uint8_t key_parts_left = 0;
  std::array<uint8_t, kKeyParts> key_parts;
};
static_assert(sizeof(KeySlot) == 128);

// Who asks.
struct KeyUser {
  uint64_t pd = 0;
  uint64_t qp = 0;
  // Rights that the peer of this Qp does not have, whatever a key grants, and the one key that
  // keeps them (uiwarp/peer_rights.h).
  Access denied = Access::kNone;
  uint32_t exempt = 0;
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

  // With a seed, keys are the same each time: for tests and simulations. `sanitizer`, which may be
  // null, is called for each key that ends or opts out.
  explicit KeyTable(std::optional<uint64_t> seed, OrderingSanitizer* sanitizer = nullptr);
  ~KeyTable();
  KeyTable(const KeyTable&) = delete;
  KeyTable& operator=(const KeyTable&) = delete;

  // A slot that is not open and its first STag; null when all are taken.
  KeySlot* allocate(uint32_t& stag);
  // The slot must be closed and, if it was ever open, synchronized since.
  void release(KeySlot* slot);
  // The next STag of a closed slot.
  uint32_t next_stag(KeySlot& slot);

  void open(KeySlot& slot, uint32_t stag);
  static void close(KeySlot& slot) { slot.live.store(0, std::memory_order_release); }
  // Returns once no reactor uses what was closed before the call.
  void synchronize();
  Quiescence& quiescence() { return quiescence_; }

  // The slot a STag belongs to whether or not it is open; null when there is none.
  KeySlot* slot_of(uint32_t stag) const {
    const uint32_t index = unscramble(stag);
    KeySlot* chunk = chunks_[index / kChunk].load(std::memory_order_acquire);
    return chunk == nullptr ? nullptr : &chunk[index % kChunk];
  }

  // `length` bytes at `to` as a peer calls them, with all of `rights`.
  KeyError resolve_remote(uint32_t stag, uint64_t to, uint64_t length, Access rights,
                          const KeyUser& user, KeyRange& range) const {
    return resolve<Origin::kRemote>(stag, to, length, rights, user, range);
  }
  // `length` bytes at `offset` of a READ's sink, as its own request named them. The peer gets this
  // offset of a sink, not the address of its memory.
  KeyError resolve_sink(uint32_t stag, uint64_t offset, uint64_t length, Access rights,
                        const KeyUser& user, KeyRange& range) const {
    return resolve<Origin::kStart>(stag, offset, length, rights, user, range);
  }
  // An Sge as its owner writes it.
  KeyError resolve_local(const Sge& sge, Access rights, const KeyUser& user,
                         KeyRange& range) const {
    return resolve<Origin::kLocal>(sge.lkey.value, reinterpret_cast<uintptr_t>(sge.addr),
                                   sge.length, rights, user, range);
  }

  OrderingSanitizer* sanitizer() const { return sanitizer_; }
  size_t in_use() const;

 private:
  static constexpr uint32_t kChunk = 1024;
  static constexpr uint32_t kEpochBits = 24 - kSlotBits;

  // What an offset counts from.
  enum class Origin : uint8_t { kRemote, kLocal, kStart };

  template <Origin origin>
  KeyError resolve(uint32_t stag, uint64_t to, uint64_t length, Access rights, const KeyUser& user,
                   KeyRange& range) const {
    const KeySlot* slot = slot_of(stag);
    if (slot == nullptr || stag == 0 || slot->live.load(std::memory_order_acquire) != stag) {
      return KeyError::kInvalid;
    }
    // First of all fields: nobody but the Qp that registered it may look at the rest.
    const uint64_t qp = slot->qp.load(std::memory_order_relaxed);
    if (qp != 0 && qp != user.qp) return KeyError::kNotAssociated;
    if (slot->pd != user.pd) return KeyError::kNotAssociated;
    if (!has(slot->access, rights)) return KeyError::kAccess;
    if (origin == Origin::kRemote && any(rights & user.denied) && stag != user.exempt) {
      return KeyError::kAccess;
    }
    const uint64_t base = origin == Origin::kRemote  ? slot->remote_base
                          : origin == Origin::kLocal ? slot->local_base
                                                     : 0;
    if (length > 0 && length - 1 > ~uint64_t{0} - to) return KeyError::kWrap;
    const uint64_t offset = to - base;
    if (to < base || offset > slot->length || length > slot->length - offset) {
      return KeyError::kBounds;
    }
    range = {slot, stag, offset};
    return KeyError::kNone;
  }

  // Both work in the upper 24 bits, where products wrap by themselves; the lower 8 are the key
  // part's.
  static constexpr uint32_t kKeyPart = 0xff;
  uint32_t scramble(uint32_t slot_and_epoch) const;
  // The slot of a STag: the inverse of scramble(), step by step. Multiplication by odd numbers is
  // invertible modulo 2^24 and x ^ (x >> 12) is its own inverse there.
  uint32_t unscramble(uint32_t stag) const {
    uint32_t value = (stag ^ whiten_) & ~kKeyPart;
    value *= inverse_[1];
    value ^= (value >> 12) & ~kKeyPart;
    value *= inverse_[0];
    return value >> (8 + kEpochBits);
  }

  Quiescence quiescence_;
  OrderingSanitizer* const sanitizer_;
  uint32_t factor_[2];
  uint32_t inverse_[2];
  uint32_t whiten_;
  std::atomic<KeySlot*> chunks_[kMaxSlots / kChunk] = {};

  KeyRandom random_;
  mutable std::mutex mutex_;
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
