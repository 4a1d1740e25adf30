// Which bytes of which pages are guarded, and on whose behalf.
//
// A range is one operation here: an op with a slot on each page that it lies on. All memory is
// mapped once and of fixed size, so that a signal handler may look things up. What finds no room is
// not guarded.
//
// Thread safety: none; PageGuard has a lock. Ownership: process-wide, never unmapped.
#pragma once

#include <cstddef>
#include <cstdint>

#include "transport/checker/guard/guard.h"

namespace mrpool::guard {

inline constexpr uintptr_t kPageBytes = 4096;
inline constexpr uintptr_t page_of(uintptr_t address) { return address & ~(kPageBytes - 1); }

struct Page {
  uintptr_t address = 0;
  uint32_t next = 0;        // in its bucket, or among the free
  uint32_t first_slot = 0;  // 0: none
  uint32_t next_dirty = 0;
  uint16_t slots = 0;
  uint16_t steppers = 0;  // threads that run one instruction on it
  bool is_protected = false;
  bool held_open = false;  // for the device, until it leaves
  bool dirty = false;      // in the list of what leave_device() looks at
};

class PageMap {
 public:
  static constexpr uint32_t kPages = 1 << 16;
  static constexpr uint32_t kSlots = 1 << 18;
  static constexpr uint32_t kOps = 1 << 17;
  // More on one page are not guarded: a lookup walks them.
  static constexpr uint16_t kSlotsPerPage = 256;

  // False: no memory.
  bool open();
  // 0 without room.
  Handle add_op(const Note& note);
  // Guards [begin, end) of one page for `op`; null without room. What it covers of others' ends.
  Page* add_slot(Handle op, uintptr_t begin, uintptr_t end);
  // Calls visit(Page&) for each page on which the op ends.
  template <typename Visit>
  void drop_op(Handle handle, Visit&& visit) {
    const uint32_t index = live_op(handle);
    if (index == 0) return;
    while (ops_[index].first_slot != 0) visit(drop_slot(ops_[index].first_slot));
    free_op(index);
  }
  Page* find(uintptr_t address);
  // The op that guards a byte in [begin, end) of that page and the first such byte; 0: none does.
  Handle guarding(const Page& page, uintptr_t begin, uintptr_t end, uintptr_t& first) const;
  const Note& note(Handle handle) const { return ops_[index_of(handle)].note; }
  // Calls visit(Page&) for every page there is; it may drop slots, not pages.
  template <typename Visit>
  void for_each(Visit&& visit) {
    for (uint32_t i = 1; i < pages_used_; ++i) {
      if (pages_[i].address != 0) visit(pages_[i]);
    }
  }
  // Ends what lies on the page.
  void clear(Page& page);
  // Forgets a page without slots.
  void drop_page(Page& page);
  uint32_t index_of_page(const Page& page) const { return static_cast<uint32_t>(&page - pages_); }
  Page& page_at(uint32_t index) { return pages_[index]; }

 private:
  struct Slot {
    uint32_t next_on_page;
    uint32_t previous_on_page;
    uint32_t next_of_op;
    uint32_t previous_of_op;
    uint32_t op;
    uint32_t page;
    uint16_t from;
    uint16_t to;
  };
  struct Op {
    uint32_t first_slot;
    uint32_t generation;
    uint32_t next_free;
    bool live;
    Note note;
  };
  static constexpr uint32_t kBuckets = 1 << 16;

  static uint32_t index_of(Handle handle) { return static_cast<uint32_t>(handle); }
  static uint32_t bucket_of(uintptr_t address) {
    return static_cast<uint32_t>((address / kPageBytes * 0x9e3779b97f4a7c15) >> 48);
  }
  uint32_t live_op(Handle handle) const;
  void free_op(uint32_t index);
  Page* find_or_add(uintptr_t address);
  void cover(Page& page, uint16_t from, uint16_t to);
  void link(uint32_t slot);
  Page& drop_slot(uint32_t index);
  void drop_slot_and_op(uint32_t index);

  // Index 0 of each stands for none.
  Page* pages_ = nullptr;
  Slot* slots_ = nullptr;
  Op* ops_ = nullptr;
  uint32_t* buckets_ = nullptr;
  uint32_t pages_used_ = 1;
  uint32_t slots_used_ = 1;
  uint32_t ops_used_ = 1;
  uint32_t free_pages_ = 0;
  uint32_t free_slots_ = 0;
  uint32_t free_ops_ = 0;
};

}  // namespace mrpool::guard
