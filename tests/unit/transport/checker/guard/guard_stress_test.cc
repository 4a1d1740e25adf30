// Threads of a program and of a device on the same pages.
#include <unistd.h>

#include <thread>
#include <vector>

#include "tests/unit/transport/checker/guard/guarded_memory.h"

namespace mrpool::guard {
namespace {

using GuardStress = GuardedMemory;

constexpr int kThreads = 3;
constexpr uint32_t kRounds = 3000;

// Each thread counts in bytes of its own on every page, between bytes that the device guards,
// writes and frees. A thread that touches only its own memory causes no report and loses no count.
TEST_F(GuardStress, NeighboursOnOnePageDoNotDisturbEachOther) {
  std::atomic<bool> ended{false};
  std::atomic<uint64_t> counted{0};
  std::vector<std::thread> threads;
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      uint32_t mine = 0;
      while (!ended) {
        for (size_t page = 0; page < kBytes; page += kPageBytes) {
          auto* count = reinterpret_cast<volatile uint32_t*>(address(page + thread * 16));
          *count = *count + 1;
          if (*count != mine + 1) ADD_FAILURE() << "a count was lost";
        }
        ++mine;
        counted.fetch_add(1);
      }
    });
  }
  // On a busy machine the threads may start late.
  for (uint32_t round = 1; round <= kRounds || counted == 0; ++round) {
    const size_t page = round % (kBytes / kPageBytes) * kPageBytes;
    Handle op = 0;
    {
      const DeviceScope device(&guard);
      op = arm(page + 1024, 2048);
      bytes[page + 1024] = static_cast<uint8_t>(round);
    }
    if (round % 16 == 0) std::this_thread::yield();
    const DeviceScope device(&guard);
    EXPECT_EQ(bytes[page + 1024], static_cast<uint8_t>(round));
    guard.disarm(op);
  }
  ended = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(touches, 0);
}

// One guard, touched by many threads: one report.
TEST_F(GuardStress, TouchedByManyIsReportedOnce) {
  for (uint32_t round = 0; round < kRounds / 30; ++round) {
    arm(512, 64);
    std::vector<std::thread> threads;
    for (int thread = 0; thread < kThreads; ++thread) {
      threads.emplace_back([this, thread] { bytes[520 + thread] = 1; });
    }
    for (std::thread& thread : threads) thread.join();
    ASSERT_EQ(touches, static_cast<int>(round) + 1);
  }
}

// Buffers of system calls, on pages that are guarded and freed meanwhile.
TEST_F(GuardStress, SystemCallsDoNotFail) {
  std::atomic<bool> ended{false};
  std::thread caller([&] {
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);
    while (!ended) {
      ASSERT_EQ(::write(ends[1], address(16), 200), 200);
      ASSERT_EQ(::read(ends[0], address(256), 200), 200);
    }
    ::close(ends[0]);
    ::close(ends[1]);
  });
  for (uint32_t round = 0; round < kRounds; ++round) {
    const Handle op = arm(2048, 1024);
    if (round % 16 == 0) std::this_thread::yield();
    guard.disarm(op);
  }
  ended = true;
  caller.join();
  EXPECT_EQ(touches, 0);
}

}  // namespace
}  // namespace mrpool::guard
