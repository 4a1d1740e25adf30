// The program's calls that give blocks of the heap back.
#include <malloc.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>

#include "transport/checker/watch/memory_watch.h"
#include "transport/checker/watch/next.h"

namespace mrpool::watch {
namespace {

constinit Next<void(void*)> next_free("free");
constinit Next<void*(void*, size_t)> next_realloc("realloc");
constinit Next<size_t(void*)> next_size("malloc_usable_size");

const void* object_of(const void* function) {
  Dl_info info{};
  return function != nullptr && ::dladdr(function, &info) != 0 ? info.dli_fbase : nullptr;
}

// Allocators that bring free() need not bring malloc_usable_size(); another's would read their
// blocks wrongly.
std::atomic<bool> sizes_are_known{false};

// The block as its owner may use it; empty when nothing of it is of interest.
Range watched(void* block) {
  MemoryWatch& watch = MemoryWatch::get();
  if (!watch.active() || block == nullptr || !sizes_are_known.load(std::memory_order_relaxed))
      [[likely]]
    return {};
  const Range whole = range_of(block, next_size.get()(block));
  return watch.may_touch(whole) ? whole : Range{};
}

// Not empty: a region lies in the block as a whole.
Range holding(void* block, const Call& call) {
  const Range whole = watched(block);
  if (whole.end == 0) return {};
  return MemoryWatch::get().concerns({call, whole, true}) ? whole : Range{};
}

void* reallocate(void* block, size_t bytes, const Call& call) {
  auto* const real = next_realloc.get();
  if (real == nullptr) return nullptr;
  Range held;
  if (MemoryWatch::get().active()) [[unlikely]]
    held = holding(block, call);
  void* const moved = real(block, bytes);
  if (held.end == 0 || (moved == nullptr && bytes > 0)) return moved;
  // What it gave up: all when the block moved, else its end, which a region may reach into.
  const bool whole = moved != block;
  if (!whole) held.begin += bytes;
  if (held.begin < held.end) MemoryWatch::get().lose({call, held, whole});
  return moved;
}

}  // namespace

void prepare_heap_calls() {
  sizes_are_known.store(object_of(reinterpret_cast<void*>(next_free.get())) ==
                        object_of(reinterpret_cast<void*>(next_size.get())));
}

}  // namespace mrpool::watch

using mrpool::watch::MemoryWatch;
using mrpool::watch::Range;

// What the program calls.
#pragma GCC visibility push(default)
extern "C" {

void free(void* block) noexcept {
  if (MemoryWatch::get().active()) [[unlikely]] {
    const Range whole = mrpool::watch::watched(block);
    if (whole.end != 0)
      MemoryWatch::get().lose({{"free", __builtin_return_address(0)}, whole, true});
  }
  auto* const real = mrpool::watch::next_free.get();
  if (real != nullptr) real(block);
}

void* realloc(void* block, size_t bytes) noexcept {
  return mrpool::watch::reallocate(block, bytes, {"realloc", __builtin_return_address(0)});
}

void* reallocarray(void* block, size_t count, size_t size) noexcept {
  size_t bytes = 0;
  if (!__builtin_mul_overflow(count, size, &bytes)) {
    return mrpool::watch::reallocate(block, bytes, {"reallocarray", __builtin_return_address(0)});
  }
  errno = ENOMEM;
  return nullptr;
}

}  // extern "C"
#pragma GCC visibility pop
