// The program's calls that unmap memory or change its rights: guards of it end first.
#include <sys/mman.h>

#include <cstdarg>

#include "transport/checker/guard/next.h"
#include "transport/checker/guard/page_guard.h"

namespace mrpool::guard {
namespace {

void forget(const void* start, size_t bytes) { PageGuard::get().forget(range_of(start, bytes)); }

using Map = void*(void*, size_t, int, int, int, off_t);

void* map(Map* real, void* start, size_t bytes, int rights, int flags, int fd, off_t offset) {
  if ((flags & MAP_FIXED) != 0) forget(start, bytes);
  return real(start, bytes, rights, flags, fd, offset);
}

}  // namespace
}  // namespace mrpool::guard

using mrpool::guard::forget;
using mrpool::guard::Map;
using mrpool::guard::next;

// What the program calls.
#pragma GCC visibility push(default)
extern "C" {

int munmap(void* start, size_t bytes) noexcept {
  static auto* const real = next<int(void*, size_t)>("munmap");
  forget(start, bytes);
  return real(start, bytes);
}

int mprotect(void* start, size_t bytes, int rights) noexcept {
  static auto* const real = next<int(void*, size_t, int)>("mprotect");
  forget(start, bytes);
  return real(start, bytes, rights);
}

void* mmap(void* start, size_t bytes, int rights, int flags, int fd, off_t offset) noexcept {
  static auto* const real = next<Map>("mmap");
  return mrpool::guard::map(real, start, bytes, rights, flags, fd, offset);
}

void* mmap64(void* start, size_t bytes, int rights, int flags, int fd, off_t offset) noexcept {
  static auto* const real = next<Map>("mmap64");
  return mrpool::guard::map(real, start, bytes, rights, flags, fd, offset);
}

void* mremap(void* start, size_t bytes, size_t new_bytes, int flags, ...) noexcept {
  static auto* const real = next<void*(void*, size_t, size_t, int, ...)>("mremap");
  void* to = nullptr;
  if ((flags & MREMAP_FIXED) != 0) {
    va_list more;
    va_start(more, flags);
    to = va_arg(more, void*);
    va_end(more);
    forget(to, new_bytes);
  }
  forget(start, bytes);
  return real(start, bytes, new_bytes, flags, to);
}

}  // extern "C"
#pragma GCC visibility pop
