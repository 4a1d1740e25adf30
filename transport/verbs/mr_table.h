// Which region an lkey names: read by every post, without locks, while other threads register.
//
// An open-addressed hash of lkey → region. Writers hold a mutex, which the caller provides; readers
// see either the old or the new state of a slot. A full table is replaced by one of twice the size
// and kept until the end, so a reader may go on in it: all the old ones together are smaller than
// the current one.
//
// Memory ordering: a slot's region is stored before its key with release; find() loads the key with
// acquire, so a key that is found has its region. The table pointer likewise.
// Thread safety: find: any thread. insert, erase: one at a time.
// Ownership: borrows the regions. The caller must not use an lkey while its region is destroyed
// (mrpool/mr.h).
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace mrpool::verbs {

template <typename Region>
class MrTable {
 public:
  MrTable() { grow(64); }

  Region* find(uint32_t lkey) const {
    const Table& table = *current_.load(std::memory_order_acquire);
    const uint64_t key = kUsed | lkey;
    for (uint32_t i = hash(lkey);; ++i) {
      const Slot& slot = table.slots[i & table.mask];
      const uint64_t found = slot.key.load(std::memory_order_acquire);
      if (found == key) return slot.region.load(std::memory_order_relaxed);
      if (found == kEmpty) return nullptr;
    }
  }

  // Slots of the current table.
  size_t capacity() const { return size_t{current_.load(std::memory_order_relaxed)->mask} + 1; }

  void insert(uint32_t lkey, Region* region) {
    const uint32_t size = current_.load(std::memory_order_relaxed)->mask + 1;
    if ((used_ + 1) * 2 > size) grow(size * 2);
    put(*current_.load(std::memory_order_relaxed), lkey, region);
  }

  void erase(uint32_t lkey) {
    Table& table = *current_.load(std::memory_order_relaxed);
    for (uint32_t i = hash(lkey);; ++i) {
      Slot& slot = table.slots[i & table.mask];
      const uint64_t found = slot.key.load(std::memory_order_relaxed);
      if (found == kEmpty) return;
      if (found == (kUsed | lkey)) {
        // Not empty again: another key may have gone past it.
        slot.key.store(kErased, std::memory_order_release);
        return clean(table, i);
      }
    }
  }

 private:
  static constexpr uint64_t kEmpty = 0;
  static constexpr uint64_t kErased = 1;
  static constexpr uint64_t kUsed = 1ull << 32;

  struct Slot {
    std::atomic<uint64_t> key{kEmpty};
    std::atomic<Region*> region{nullptr};
  };
  struct Table {
    explicit Table(uint32_t size) : slots(new Slot[size]), mask(size - 1) {}
    std::unique_ptr<Slot[]> slots;
    uint32_t mask;
  };

  // No search passes an erased slot that is followed by an empty one: it becomes empty again, and
  // so does an erased one before it. Keys that come and go, as windows do with every connection,
  // would otherwise fill a
  // table of any size.
  void clean(Table& table, uint32_t i) {
    if (table.slots[(i + 1) & table.mask].key.load(std::memory_order_relaxed) != kEmpty) return;
    for (;; --i) {
      Slot& slot = table.slots[i & table.mask];
      if (slot.key.load(std::memory_order_relaxed) != kErased) return;
      slot.key.store(kEmpty, std::memory_order_release);
      --used_;
    }
  }

  static uint32_t hash(uint32_t lkey) { return (lkey * 0x9e3779b1u) >> 7; }

  void put(Table& table, uint32_t lkey, Region* region) {
    uint32_t i = hash(lkey);
    while (table.slots[i & table.mask].key.load(std::memory_order_relaxed) >= kUsed) ++i;
    Slot& slot = table.slots[i & table.mask];
    if (slot.key.load(std::memory_order_relaxed) == kEmpty) ++used_;
    slot.region.store(region, std::memory_order_relaxed);
    slot.key.store(kUsed | lkey, std::memory_order_release);
  }

  void grow(uint32_t size) {
    auto next = std::make_unique<Table>(size);
    used_ = 0;
    if (const Table* old = current_.load(std::memory_order_relaxed); old != nullptr) {
      for (uint32_t i = 0; i <= old->mask; ++i) {
        const uint64_t key = old->slots[i].key.load(std::memory_order_relaxed);
        if (key < kUsed) continue;
        put(*next, uint32_t(key), old->slots[i].region.load(std::memory_order_relaxed));
      }
    }
    current_.store(next.get(), std::memory_order_release);
    tables_.push_back(std::move(next));
  }

  std::atomic<Table*> current_{nullptr};
  std::vector<std::unique_ptr<Table>> tables_;
  uint32_t used_ = 0;  // slots of the current table that are not empty
};

}  // namespace mrpool::verbs
