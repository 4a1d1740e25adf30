// The program's calls that unmap memory, map something else there, or give its pages back.
#include <sys/mman.h>

#include <cstdarg>

#include "transport/checker/watch/memory_watch.h"
#include "transport/checker/watch/next.h"

namespace mrpool::watch {
namespace {

using Map = void*(void*, size_t, int, int, int, off_t);

constinit Next<int(void*, size_t)> next_munmap("munmap");
constinit Next<Map> next_mmap("mmap");
constinit Next<Map> next_mmap64("mmap64");
constinit Next<void*(void*, size_t, size_t, int, ...)> next_mremap("mremap");
constinit Next<int(void*, size_t, int)> next_madvise("madvise");

constexpr uintptr_t kPageMask = 4095;

// Before the call, which the device may notice first. The kernel refuses other addresses.
void lose(const Call& call, const void* start, size_t bytes) {
  MemoryWatch& watch = MemoryWatch::get();
  if (!watch.active()) [[likely]]
    return;
  const Range range = range_of(start, bytes);
  if (bytes == 0 || (range.begin & kPageMask) != 0 || range.end < range.begin) return;
  watch.lose({call, {range.begin, (range.end + kPageMask) & ~kPageMask}, false});
}

void* map(Next<Map>& next, const void* caller, void* start, size_t bytes, int rights, int flags,
          int fd, off_t offset) {
  if ((flags & MAP_FIXED) != 0) lose({"mmap", caller}, start, bytes);
  return next.get()(start, bytes, rights, flags, fd, offset);
}

// The pages are the program's no more, or no longer the device's: it would see others.
bool gives_pages_back(int advice) {
  return advice == MADV_DONTNEED || advice == MADV_FREE || advice == MADV_REMOVE ||
         advice == MADV_DONTNEED_LOCKED;
}

}  // namespace
}  // namespace mrpool::watch

using mrpool::watch::lose;

// What the program calls.
#pragma GCC visibility push(default)
extern "C" {

int munmap(void* start, size_t bytes) noexcept {
  lose({"munmap", __builtin_return_address(0)}, start, bytes);
  return mrpool::watch::next_munmap.get()(start, bytes);
}

void* mmap(void* start, size_t bytes, int rights, int flags, int fd, off_t offset) noexcept {
  return mrpool::watch::map(mrpool::watch::next_mmap, __builtin_return_address(0), start, bytes,
                            rights, flags, fd, offset);
}

void* mmap64(void* start, size_t bytes, int rights, int flags, int fd, off_t offset) noexcept {
  return mrpool::watch::map(mrpool::watch::next_mmap64, __builtin_return_address(0), start, bytes,
                            rights, flags, fd, offset);
}

void* mremap(void* start, size_t bytes, size_t new_bytes, int flags, ...) noexcept {
  const mrpool::watch::Call call{"mremap", __builtin_return_address(0)};
  void* to = nullptr;
  if ((flags & MREMAP_FIXED) != 0) {
    va_list more;
    va_start(more, flags);
    to = va_arg(more, void*);
    va_end(more);
    lose(call, to, new_bytes);
  }
  void* const moved = mrpool::watch::next_mremap.get()(start, bytes, new_bytes, flags, to);
  if (moved == MAP_FAILED) return moved;
  if (moved != start) {
    lose(call, start, bytes);
  } else if (new_bytes < bytes) {
    lose(call, static_cast<char*>(start) + new_bytes, bytes - new_bytes);
  }
  return moved;
}

int madvise(void* start, size_t bytes, int advice) noexcept {
  if (mrpool::watch::gives_pages_back(advice))
    lose({"madvise", __builtin_return_address(0)}, start, bytes);
  return mrpool::watch::next_madvise.get()(start, bytes, advice);
}

}  // extern "C"
#pragma GCC visibility pop
