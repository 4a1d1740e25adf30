#include "transport/uiwarp/segment_arena.h"

#include <sys/mman.h>

namespace mrpool::uiwarp {
namespace {

constexpr size_t kPage = 4096;
// Rooms that are reserved at once.
constexpr size_t kRoomsPerChunk = 64;

size_t bytes_for(uint32_t count) {
  return (size_t{count} * sizeof(Segment) + kPage - 1) / kPage * kPage;
}

}  // namespace

SegmentArena::~SegmentArena() {
  for (const std::span<std::byte> chunk : chunks_) ::munmap(chunk.data(), chunk.size());
}

Segment* SegmentArena::reserve(uint32_t count) {
  const size_t bytes = bytes_for(count);
  const std::lock_guard lock(mutex_);
  std::vector<Segment*>& rooms = free_[bytes];
  if (rooms.empty()) {
    const size_t size = bytes * kRoomsPerChunk;
    void* const memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) return nullptr;
    // Else the first segment of the first room might bring 2 MiB with it.
    (void)::madvise(memory, size, MADV_NOHUGEPAGE);
    auto* const first = static_cast<std::byte*>(memory);
    chunks_.emplace_back(first, size);
    for (size_t room = kRoomsPerChunk; room > 0; --room) {
      rooms.push_back(reinterpret_cast<Segment*>(first + (room - 1) * bytes));
    }
  }
  Segment* const room = rooms.back();
  rooms.pop_back();
  return room;
}

void SegmentArena::release(Segment* room, uint32_t count, bool touched) {
  const size_t bytes = bytes_for(count);
  // Fails where the program has locked its memory; the pages then stay for the room's next owner.
  if (touched) (void)::madvise(room, bytes, MADV_DONTNEED);
  const std::lock_guard lock(mutex_);
  free_[bytes].push_back(room);
}

}  // namespace mrpool::uiwarp
