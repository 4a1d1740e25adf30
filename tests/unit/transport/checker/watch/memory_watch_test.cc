// The calls of this test are the watched ones: the object stands before the C library here, too.
#include "transport/checker/watch/memory_watch.h"

#include <gtest/gtest.h>
#include <malloc.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

namespace mrpool::watch {
namespace {

constexpr size_t kPage = 4096;

class MemoryWatchTest : public testing::Test {
 protected:
  void SetUp() override {
    MemoryWatch::get().start(&told);
    losses.clear();
  }
  void TearDown() override {
    for (const Range& region : regions_) MemoryWatch::get().remove(region);
    EXPECT_FALSE(MemoryWatch::get().active());
  }
  void watch(const void* start, size_t bytes) {
    regions_.push_back(range_of(start, bytes));
    MemoryWatch::get().add(regions_.back());
  }
  void unwatch() {
    MemoryWatch::get().remove(regions_.back());
    regions_.pop_back();
  }
  static char* map(size_t bytes) {
    return static_cast<char*>(
        ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  }
  static void told(const Loss& loss) { losses.emplace_back(loss.call.name); }
  static inline std::vector<std::string> losses;
  static std::vector<std::string> once(const char* call) { return {call}; }

 private:
  std::vector<Range> regions_;
};

// Volatile: the compiler knows what malloc and free are for.
void* volatile block = nullptr;

TEST_F(MemoryWatchTest, FreeOfABlockThatHoldsARegion) {
  block = std::malloc(1000);
  watch(static_cast<char*>(block) + 100, 200);
  std::free(block);
  EXPECT_EQ(losses, once("free"));
}

TEST_F(MemoryWatchTest, NotAfterDeregistration) {
  block = std::malloc(1000);
  watch(block, 1000);
  unwatch();
  std::free(block);
  EXPECT_TRUE(losses.empty());
}

// Registered in whole pages: a neighbor on the same page is not the region's.
TEST_F(MemoryWatchTest, NotForABlockThatARegionStandsOutOf) {
  block = std::malloc(1000);
  const auto at = reinterpret_cast<uintptr_t>(block) & ~(kPage - 1);
  watch(reinterpret_cast<void*>(at), 2 * kPage);
  std::free(block);
  EXPECT_TRUE(losses.empty());
}

TEST_F(MemoryWatchTest, NotForOtherBlocks) {
  block = std::malloc(1000);
  void* volatile other = std::malloc(1000);
  void* volatile third = std::malloc(1000);
  watch(other, 1000);
  std::free(block);
  std::free(third);
  EXPECT_TRUE(losses.empty());
  unwatch();
  std::free(other);
}

TEST_F(MemoryWatchTest, ReallocThatMovesOrShrinks) {
  block = std::malloc(1000);
  void* volatile neighbor = std::malloc(16);
  watch(block, 1000);
  block = std::realloc(block, 1000);  // stays
  EXPECT_TRUE(losses.empty());
  block = std::realloc(block, 500);
  EXPECT_EQ(losses, once("realloc"));
  losses.clear();
  unwatch();
  watch(block, 100);
  block = std::realloc(block, 1 << 20);
  EXPECT_EQ(losses, once("realloc"));
  std::free(block);
  std::free(neighbor);
}

TEST_F(MemoryWatchTest, UnmappedInPart) {
  char* const memory = map(4 * kPage);
  watch(memory + 100, 2 * kPage);
  ::munmap(memory + 3 * kPage, kPage);
  EXPECT_TRUE(losses.empty());
  ::munmap(memory + 2 * kPage, kPage);  // the region's last 100 bytes
  EXPECT_EQ(losses, once("munmap"));
  ::munmap(memory, 2 * kPage);
}

TEST_F(MemoryWatchTest, MappedOver) {
  char* const memory = map(2 * kPage);
  watch(memory, kPage);
  ::mmap(memory + kPage, kPage, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  ::mmap(memory, kPage, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  EXPECT_TRUE(losses.empty());
  ::mmap(memory, kPage, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  EXPECT_EQ(losses, once("mmap"));
  unwatch();
  ::munmap(memory, 2 * kPage);
}

TEST_F(MemoryWatchTest, Remapped) {
  char* const memory = map(4 * kPage);
  watch(memory, 2 * kPage);
  EXPECT_EQ(::mremap(memory, 4 * kPage, 2 * kPage, 0), memory);
  EXPECT_TRUE(losses.empty());
  EXPECT_EQ(::mremap(memory, 2 * kPage, kPage, 0), memory);
  EXPECT_EQ(losses, once("mremap"));
  unwatch();
  ::munmap(memory, kPage);
}

TEST_F(MemoryWatchTest, PagesGivenBack) {
  char* const memory = map(kPage);
  watch(memory, kPage);
  ::madvise(memory, kPage, MADV_WILLNEED);
  EXPECT_TRUE(losses.empty());
  ::madvise(memory, kPage, MADV_DONTNEED);
  EXPECT_EQ(losses, once("madvise"));
  unwatch();
  ::munmap(memory, kPage);
}

TEST_F(MemoryWatchTest, ForkedChildWatchesNothing) {
  block = std::malloc(1000);
  watch(block, 1000);
  const pid_t child = ::fork();
  if (child == 0) {
    std::free(block);
    ::_exit(losses.empty() ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  unwatch();
  std::free(block);
}

// Threads free memory while others register, and a child is forked in between: nothing waits
// forever.
TEST_F(MemoryWatchTest, ManyThreadsAndForks) {
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&stop] {
      while (!stop.load()) {
        void* const mine = std::malloc(5000);
        MemoryWatch::get().add(range_of(mine, 5000));
        MemoryWatch::get().remove(range_of(mine, 5000));
        std::free(mine);
      }
    });
  }
  for (int i = 0; i < 100; ++i) {
    const pid_t child = ::fork();
    if (child == 0) {
      for (int j = 0; j < 100; ++j) {
        void* volatile own = std::malloc(5000);
        std::free(own);
      }
      ::_exit(0);
    }
    int status = -1;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
  }
  stop.store(true);
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(losses.empty());
}

}  // namespace
}  // namespace mrpool::watch
