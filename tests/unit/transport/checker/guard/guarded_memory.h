// Memory that a test guards, and the recorded accesses to it.
//
// Thread safety: `told()` and `count()` from any thread. One at a time: the guard is the process's.
#pragma once

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <array>
#include <atomic>
#include <cstdint>

#include "transport/checker/guard/page_guard.h"

namespace mrpool::guard {

class GuardedMemory : public testing::Test {
 protected:
  static constexpr size_t kBytes = 8 * kPageBytes;

  void SetUp() override {
    touches = 0;
    ASSERT_TRUE(guard.start({.touched = &note}));
    void* memory =
        ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ASSERT_NE(memory, MAP_FAILED);
    bytes = static_cast<volatile uint8_t*>(memory);
    guard.add_region(whole());
  }
  void TearDown() override {
    guard.remove_region(whole());
    ::munmap(address(), kBytes);
  }

  static void note(const Touch& touch) {
    last = touch;
    touches.fetch_add(1);
  }
  Range whole() const { return range_of(address(), kBytes); }
  void* address(size_t offset = 0) const { return const_cast<uint8_t*>(bytes + offset); }
  Handle arm(size_t from, size_t length, uint64_t what = 0) {
    return guard.arm(range_of(address(from), length), {what});
  }
  // The offset of the last touch.
  size_t touched() const { return last.address - reinterpret_cast<uintptr_t>(address()); }

  PageGuard& guard = PageGuard::get();
  volatile uint8_t* bytes = nullptr;
  static inline std::atomic<int> touches{0};
  static inline Touch last;
};

}  // namespace mrpool::guard
