#include "transport/checker/guard/page_map.h"

#include <sys/mman.h>

#include <algorithm>

namespace mrpool::guard {
namespace {

template <typename T>
bool map_array(T*& array, size_t count) {
  void* memory = ::mmap(nullptr, count * sizeof(T), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return false;
  array = static_cast<T*>(memory);  // zeros, which all of these are content to start with
  return true;
}

// Takes an index from a free list, or the next that was never used; 0 without room.
template <typename Next>
uint32_t take(uint32_t& free, uint32_t& used, uint32_t limit, Next&& next) {
  if (free != 0) {
    const uint32_t index = free;
    free = next(index);
    return index;
  }
  return used < limit ? used++ : 0;
}

}  // namespace

bool PageMap::open() {
  return map_array(pages_, kPages) && map_array(slots_, kSlots) && map_array(ops_, kOps) &&
         map_array(buckets_, kBuckets);
}

Handle PageMap::add_op(const Note& note) {
  const uint32_t index =
      take(free_ops_, ops_used_, kOps, [this](uint32_t i) { return ops_[i].next_free; });
  if (index == 0) return 0;
  Op& op = ops_[index];
  op.first_slot = 0;
  op.live = true;
  op.note = note;
  return Handle{op.generation} << 32 | index;
}

uint32_t PageMap::live_op(Handle handle) const {
  const uint32_t index = index_of(handle);
  if (index == 0 || index >= ops_used_) return 0;
  const Op& op = ops_[index];
  return op.live && op.generation == handle >> 32 ? index : 0;
}

void PageMap::free_op(uint32_t index) {
  Op& op = ops_[index];
  op.live = false;
  ++op.generation;
  op.next_free = free_ops_;
  free_ops_ = index;
}

Page* PageMap::find(uintptr_t address) {
  address = page_of(address);
  for (uint32_t i = buckets_[bucket_of(address)]; i != 0; i = pages_[i].next) {
    if (pages_[i].address == address) return &pages_[i];
  }
  return nullptr;
}

Page* PageMap::find_or_add(uintptr_t address) {
  address = page_of(address);
  if (Page* found = find(address); found != nullptr) return found;
  const uint32_t index =
      take(free_pages_, pages_used_, kPages, [this](uint32_t i) { return pages_[i].next; });
  if (index == 0) return nullptr;
  uint32_t& bucket = buckets_[bucket_of(address)];
  pages_[index] = {.address = address, .next = bucket};
  bucket = index;
  return &pages_[index];
}

void PageMap::drop_page(Page& page) {
  const uint32_t index = index_of_page(page);
  uint32_t* link = &buckets_[bucket_of(page.address)];
  while (*link != index) link = &pages_[*link].next;
  *link = page.next;
  page = {.next = free_pages_};
  free_pages_ = index;
}

Page* PageMap::add_slot(Handle op, uintptr_t begin, uintptr_t end) {
  const uint32_t owner = live_op(op);
  Page* page = owner == 0 ? nullptr : find_or_add(begin);
  if (page == nullptr) return nullptr;
  const auto from = static_cast<uint16_t>(begin - page->address);
  const auto to = static_cast<uint16_t>(end - page->address);
  cover(*page, from, to);
  if (page->slots == kSlotsPerPage) return page;
  const uint32_t index =
      take(free_slots_, slots_used_, kSlots, [this](uint32_t i) { return slots_[i].next_on_page; });
  if (index == 0) return page;
  slots_[index] = {.next_on_page = 0,
                   .previous_on_page = 0,
                   .next_of_op = 0,
                   .previous_of_op = 0,
                   .op = owner,
                   .page = index_of_page(*page),
                   .from = from,
                   .to = to};
  link(index);
  return page;
}

// Ends what others guard of [from, to), so that programs that are written to over and over do not
// fill the tables. One that sticks out on both sides stays.
void PageMap::cover(Page& page, uint16_t from, uint16_t to) {
  for (uint32_t i = page.first_slot; i != 0;) {
    Slot& slot = slots_[i];
    const uint32_t next = slot.next_on_page;
    if (slot.from >= from && slot.to <= to) {
      drop_slot_and_op(i);
    } else if (slot.from < from && slot.to <= to) {
      slot.to = std::min(slot.to, from);
    } else if (slot.from >= from && slot.to > to) {
      slot.from = std::max(slot.from, to);
    }
    i = next;
  }
}

void PageMap::link(uint32_t index) {
  Slot& slot = slots_[index];
  Page& page = pages_[slot.page];
  Op& op = ops_[slot.op];
  slot.next_on_page = page.first_slot;
  if (page.first_slot != 0) slots_[page.first_slot].previous_on_page = index;
  page.first_slot = index;
  ++page.slots;
  slot.next_of_op = op.first_slot;
  if (op.first_slot != 0) slots_[op.first_slot].previous_of_op = index;
  op.first_slot = index;
}

Page& PageMap::drop_slot(uint32_t index) {
  Slot& slot = slots_[index];
  Page& page = pages_[slot.page];
  Op& op = ops_[slot.op];
  (slot.previous_on_page != 0 ? slots_[slot.previous_on_page].next_on_page : page.first_slot) =
      slot.next_on_page;
  if (slot.next_on_page != 0) slots_[slot.next_on_page].previous_on_page = slot.previous_on_page;
  (slot.previous_of_op != 0 ? slots_[slot.previous_of_op].next_of_op : op.first_slot) =
      slot.next_of_op;
  if (slot.next_of_op != 0) slots_[slot.next_of_op].previous_of_op = slot.previous_of_op;
  --page.slots;
  slot.next_on_page = free_slots_;
  free_slots_ = index;
  return page;
}

void PageMap::drop_slot_and_op(uint32_t index) {
  const uint32_t op = slots_[index].op;
  drop_slot(index);
  if (ops_[op].first_slot == 0) free_op(op);
}

void PageMap::clear(Page& page) {
  while (page.first_slot != 0) drop_slot_and_op(page.first_slot);
}

Handle PageMap::guarding(const Page& page, uintptr_t begin, uintptr_t end, uintptr_t& first) const {
  Handle found = 0;
  for (uint32_t i = page.first_slot; i != 0; i = slots_[i].next_on_page) {
    const Slot& slot = slots_[i];
    const uintptr_t from = std::max(begin, page.address + slot.from);
    if (from >= std::min(end, page.address + slot.to)) continue;
    if (found != 0 && from >= first) continue;
    first = from;
    found = Handle{ops_[slot.op].generation} << 32 | slot.op;
  }
  return found;
}

}  // namespace mrpool::guard
