#include "transport/uiwarp/key_table.h"

#include "transport/uiwarp/check.h"
#include "transport/uiwarp/sanitizer.h"

namespace mrpool::uiwarp {

namespace {

// The inverse of an odd number modulo 2^32, by Newton's iteration: each step doubles the number of
// right bits.
uint32_t inverse_of(uint32_t odd) {
  uint32_t x = odd;
  for (int i = 0; i < 5; ++i) x *= 2 - odd * x;
  return x;
}

}  // namespace

KeyTable::KeyTable(std::optional<uint64_t> seed, OrderingSanitizer* sanitizer)
    : sanitizer_(sanitizer), random_(seed) {
  for (int i = 0; i < 2; ++i) {
    factor_[i] = random_.number() | 1u;
    inverse_[i] = inverse_of(factor_[i]);
  }
  whiten_ = random_.number() & ~kKeyPart;
}

KeyTable::~KeyTable() = default;

uint32_t KeyTable::scramble(uint32_t slot_and_epoch) const {
  uint32_t value = slot_and_epoch << 8;
  value *= factor_[0];
  value ^= (value >> 12) & ~kKeyPart;
  value *= factor_[1];
  return value ^ whiten_;
}

uint32_t KeyTable::next_stag(KeySlot& slot) {
  check(slot.live.load(std::memory_order_relaxed) == 0, "the key of an open slot was advanced");
  for (;;) {
    if (slot.key_parts_left == 0) {
      random_.fill(slot.key_parts);
      slot.key_parts_left = KeySlot::kKeyParts;
    }
    const uint32_t key_part = slot.key_parts[--slot.key_parts_left];
    const uint32_t epoch = ++slot.epoch & ((1u << kEpochBits) - 1);
    const uint32_t stag = scramble(slot.index << kEpochBits | epoch) | key_part;
    if (stag != 0) return stag;  // 0 stands for "closed"
  }
}

void KeyTable::open(KeySlot& slot, uint32_t stag) {
  if (sanitizer_ != nullptr && any(slot.access & Access::kDisableRelaxedOrdering)) {
    sanitizer_->opted_out();
  }
  slot.live.store(stag, std::memory_order_release);
}

void KeyTable::synchronize() {
  quiescence_.synchronize();
  // What was withheld under the keys that ended must not appear later.
  if (sanitizer_ != nullptr) sanitizer_->settle_all();
}

KeySlot* KeyTable::allocate(uint32_t& stag) {
  const std::lock_guard lock(mutex_);
  if (free_.empty()) {
    const size_t chunk = storage_.size();
    if (chunk == kMaxSlots / kChunk) return nullptr;
    storage_.push_back(std::make_unique<KeySlot[]>(kChunk));
    for (uint32_t i = kChunk; i-- > 0;) {
      const auto index = static_cast<uint32_t>(chunk * kChunk + i);
      storage_[chunk][i].index = index;
      storage_[chunk][i].epoch = random_.number();
      free_.push_back(index);
    }
    chunks_[chunk].store(storage_[chunk].get(), std::memory_order_release);
  }
  const uint32_t index = free_.back();
  free_.pop_back();
  ++in_use_;
  KeySlot& slot = storage_[index / kChunk][index % kChunk];
  stag = next_stag(slot);
  return &slot;
}

void KeyTable::release(KeySlot* slot) {
  check(slot->live.load(std::memory_order_relaxed) == 0, "an open key was released");
  const std::lock_guard lock(mutex_);
  slot->fast = nullptr;
  slot->qp.store(0, std::memory_order_relaxed);
  free_.push_back(slot->index);
  --in_use_;
}

size_t KeyTable::in_use() const {
  const std::lock_guard lock(mutex_);
  return in_use_;
}

}  // namespace mrpool::uiwarp
