// The atomics, fences and nodes of the free list. Not API.
//
// Tests use another platform, whose atomics run under a scheduler that explores interleavings and
// store buffers.
//
// Thread safety: the fences: any thread.
#pragma once

#include <atomic>
#include <cstdint>

namespace mrpool::internal {

struct MachinePlatform {
  template <typename T>
  using Atomic = std::atomic<T>;

  // Orders the caller's stores before its later loads, provided the other side runs heavy_fence().
  static void light_fence() { std::atomic_signal_fence(std::memory_order_seq_cst); }
  // A full barrier in every thread of the process.
  static void heavy_fence();
  // A full barrier in this thread.
  static void full_fence() { std::atomic_thread_fence(std::memory_order_seq_cst); }

  // Adds one to a counter that only the caller writes, after its earlier stores (release).
  [[gnu::always_inline]] static void count(std::atomic<uint64_t>& counter) {
#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__)
    // One instruction instead of the three of the portable form. x86 makes stores visible in
    // program order, and stores an aligned word as a whole.
    asm volatile("addq $1, %0" : "+m"(counter) : : "memory", "cc");
#else
    counter.store(counter.load(std::memory_order_relaxed) + 1, std::memory_order_release);
#endif
  }
};

// The base of the objects in a free list. They live as long as the list.
template <typename Platform>
struct FreeNode {
  typename Platform::template Atomic<uint32_t> next{0};  // TaggedStack's link
  uint32_t index = 0;
};

}  // namespace mrpool::internal
