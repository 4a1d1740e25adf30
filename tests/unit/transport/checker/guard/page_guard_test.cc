#include "transport/checker/guard/page_guard.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>

#include "tests/unit/transport/checker/guard/guarded_memory.h"

namespace mrpool::guard {
namespace {

using PageGuardTest = GuardedMemory;

TEST_F(PageGuardTest, LoadOfGuardedBytesIsReportedAndContinues) {
  bytes[5000] = 42;
  const Handle op = arm(5000, 4, 99);
  ASSERT_NE(op, 0u);
  EXPECT_EQ(bytes[5000], 42);
  EXPECT_EQ(touches, 1);
  EXPECT_EQ(touched(), 5000u);
  EXPECT_FALSE(last.write);
  EXPECT_EQ(last.note[0], 99u);
  EXPECT_EQ(last.handle, op);
  EXPECT_NE(last.instruction, 0u);
  EXPECT_EQ(bytes[5001], 0);  // its guard has ended
  EXPECT_EQ(touches, 1);
}

TEST_F(PageGuardTest, StoreOfGuardedBytesIsReportedAndContinues) {
  arm(100, 4);
  bytes[103] = 7;
  EXPECT_EQ(touches, 1);
  EXPECT_TRUE(last.write);
  EXPECT_EQ(bytes[103], 7);
}

TEST_F(PageGuardTest, OtherBytesOfThePageGoThroughAndLeaveTheGuard) {
  const uint64_t steps = guard.counts().steps;
  arm(100, 4);
  for (int i = 0; i < 50; ++i) {
    bytes[99] = static_cast<uint8_t>(i);
    EXPECT_EQ(bytes[99], i);
    bytes[104] = 1;
  }
  EXPECT_EQ(touches, 0);
  EXPECT_GE(guard.counts().steps - steps, 150u);
  EXPECT_EQ(bytes[100], 0);
  EXPECT_EQ(touches, 1);
}

TEST_F(PageGuardTest, CopyIntoGuardedBytesIsReportedOnce) {
  arm(2 * kPageBytes, 2 * kPageBytes);
  std::array<uint8_t, kBytes> copy;
  std::memcpy(copy.data(), address(), kBytes);
  asm volatile("" : : "r"(copy.data()) : "memory");  // the copy is used
  EXPECT_EQ(touches, 1);
  EXPECT_GE(touched(), 2 * kPageBytes);
  EXPECT_LT(touched(), 4 * kPageBytes);
}

TEST_F(PageGuardTest, StringInstructionAcrossGuardedPages) {
  arm(kPageBytes + 64, 16);
  uint8_t copy[kPageBytes + 64];
  void* to = copy;
  const void* from = address();
  size_t count = sizeof copy;
  bytes[kPageBytes + 63] = 9;
  asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
  EXPECT_EQ(touches, 0);
  EXPECT_EQ(copy[kPageBytes + 63], 9);
  EXPECT_EQ(bytes[kPageBytes + 64], 0);
  EXPECT_EQ(touches, 1);
}

TEST_F(PageGuardTest, InstructionWithTwoGuardedPages) {
  arm(100, 4);
  arm(kPageBytes + 100, 4);
  bytes[0] = 33;
  void* to = address(kPageBytes);
  const void* from = address();
  size_t count = 1;
  asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
  EXPECT_EQ(bytes[kPageBytes], 33);
  EXPECT_EQ(touches, 0);
}

TEST_F(PageGuardTest, DisarmedBytesAreFree) {
  const Handle op = arm(0, kBytes);
  guard.disarm(op);
  bytes[0] = 1;
  bytes[kBytes - 1] = 1;
  EXPECT_EQ(touches, 0);
  guard.disarm(op);
}

TEST_F(PageGuardTest, DeviceMayUseGuardedBytes) {
  arm(10, 10);
  {
    const DeviceScope device(&guard);
    bytes[12] = 5;
    EXPECT_EQ(bytes[12], 5);
    arm(kPageBytes, 10);
    bytes[kPageBytes] = 6;
  }
  EXPECT_EQ(touches, 0);
  EXPECT_EQ(bytes[kPageBytes], 6);
  EXPECT_EQ(bytes[12], 5);
  EXPECT_EQ(touches, 2);
}

TEST_F(PageGuardTest, DevicePlacesWithoutOpeningThePage) {
  arm(10, 10);
  const auto opened = guard.counts().opened_for_device;
  const std::byte data[10] = {std::byte{1}, std::byte{2}};
  if (guard.place(static_cast<std::byte*>(address(10)), data, sizeof data)) {
    EXPECT_EQ(guard.counts().opened_for_device, opened);
  } else {  // a kernel that does not let /proc/self/mem pass over the rights of pages
    const DeviceScope device(&guard);
    bytes[11] = 2;
  }
  EXPECT_EQ(touches, 0);
  EXPECT_EQ(bytes[11], 2);
  EXPECT_EQ(touches, 1);
}

TEST_F(PageGuardTest, OnlyWholePagesOfRegionsAreGuarded) {
  guard.remove_region(whole());
  guard.add_region(range_of(address(100), 2 * kPageBytes));
  EXPECT_EQ(arm(200, 4), 0u);               // its page begins before the region
  EXPECT_NE(arm(kPageBytes + 200, 4), 0u);  // wholly inside
  EXPECT_EQ(arm(2 * kPageBytes + 10, 4), 0u);
  EXPECT_EQ(arm(4 * kPageBytes, 4), 0u);
  EXPECT_EQ(bytes[200], 0);
  EXPECT_EQ(touches, 0);
  guard.remove_region(range_of(address(100), 2 * kPageBytes));
  EXPECT_EQ(bytes[kPageBytes + 200], 0);  // deregistered: free
  EXPECT_EQ(touches, 0);
}

TEST_F(PageGuardTest, ReadOnlyMemoryAndStacksAreNotGuarded) {
  alignas(kPageBytes) char stack[2 * kPageBytes] = {};
  const Range own = range_of(stack, sizeof stack);
  guard.add_region(own);
  EXPECT_EQ(guard.arm(own, {}), 0u);
  guard.remove_region(own);
  guard.remove_region(whole());
  ASSERT_EQ(::mprotect(address(), kBytes, PROT_READ), 0);
  guard.add_region(whole());
  EXPECT_EQ(arm(0, 10), 0u);
}

TEST_F(PageGuardTest, UnmappedMemoryIsForgotten) {
  arm(0, kBytes);
  ::munmap(address(), kBytes);
  void* again =
      ::mmap(address(), kBytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  ASSERT_EQ(again, address());
  EXPECT_EQ(bytes[0], 0);
  EXPECT_EQ(touches, 0);
}

TEST_F(PageGuardTest, ForkedChildHasNoGuards) {
  arm(0, kBytes);
  const pid_t child = ::fork();
  if (child == 0) ::_exit(bytes[0] + bytes[kBytes - 1] + touches);
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(bytes[0], 0);
  EXPECT_EQ(touches, 1);
}

// A handler of the program that runs while the process forks.
volatile uint8_t* touched_by_fork = nullptr;
const int registered_early = ::pthread_atfork(
    [] {
      if (touched_by_fork != nullptr) *touched_by_fork = 1;
    },
    nullptr, nullptr);

TEST_F(PageGuardTest, HandlersOfForksMayTouch) {
  ASSERT_EQ(registered_early, 0);
  arm(100, 4);
  touched_by_fork = bytes + 50;  // of the same page
  const pid_t child = ::fork();
  if (child == 0) ::_exit(bytes[50]);
  touched_by_fork = nullptr;
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 1);
  EXPECT_EQ(touches, 0);
}

// What system calls are handed.

struct Pipe {
  Pipe() { EXPECT_EQ(::pipe(ends), 0); }
  ~Pipe() {
    ::close(ends[0]);
    ::close(ends[1]);
  }
  int ends[2];
};

TEST_F(PageGuardTest, SystemCallsOnOtherBytesSucceed) {
  arm(100, 4);
  const Pipe pipe;
  std::memcpy(address(), "hello", 6);
  ASSERT_EQ(::write(pipe.ends[1], address(), 6), 6);
  ASSERT_EQ(::read(pipe.ends[0], address(200), 6), 6);
  EXPECT_STREQ(static_cast<char*>(address(200)), "hello");
  EXPECT_EQ(touches, 0);
  EXPECT_EQ(bytes[100], 0);
  EXPECT_EQ(touches, 1);
}

TEST_F(PageGuardTest, SystemCallsOnGuardedBytesAreReportedAndSucceed) {
  const Pipe pipe;
  const Handle op = arm(100, 4);
  ASSERT_EQ(::write(pipe.ends[1], address(90), 20), 20);
  EXPECT_EQ(touches, 1);
  EXPECT_EQ(touched(), 100u);
  EXPECT_FALSE(last.write);
  EXPECT_TRUE(last.system_call);
  EXPECT_EQ(last.handle, op);
  arm(100, 4);
  iovec pieces[2] = {{address(kPageBytes), 5}, {address(98), 15}};
  ASSERT_EQ(::readv(pipe.ends[0], pieces, 2), 20);
  EXPECT_EQ(touches, 2);
  EXPECT_TRUE(last.write);
}

// The kernel reads where the buffers are, too.
TEST_F(PageGuardTest, PiecesThatLieOnAGuardedPage) {
  const Pipe pipe;
  ASSERT_EQ(::write(pipe.ends[1], "abc", 3), 3);
  auto* const pieces = static_cast<iovec*>(address(kPageBytes + 512));
  pieces[0] = {address(), 2};
  pieces[1] = {address(2 * kPageBytes), 1};
  arm(kPageBytes + 100, 4);
  EXPECT_EQ(::readv(pipe.ends[0], pieces, 2), 3);
  EXPECT_EQ(bytes[1], 'b');
  EXPECT_EQ(bytes[2 * kPageBytes], 'c');
  EXPECT_EQ(touches, 0);
  arm(kPageBytes + 512, sizeof *pieces);
  EXPECT_EQ(::writev(pipe.ends[1], pieces, 1), 2);
  EXPECT_EQ(touches, 1);
}

TEST_F(PageGuardTest, MessagesThatLieOnAGuardedPage) {
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
  auto* const message = static_cast<msghdr*>(address(kPageBytes + 512));
  auto* const piece = static_cast<iovec*>(address(2 * kPageBytes));
  *piece = {address(3 * kPageBytes), 3};
  *message = {};
  message->msg_iov = piece;
  message->msg_iovlen = 1;
  bytes[3 * kPageBytes] = 'x';
  arm(kPageBytes, 4);
  arm(2 * kPageBytes + 100, 4);
  arm(3 * kPageBytes + 100, 4);
  EXPECT_EQ(::sendmsg(ends[0], message, 0), 3);
  bytes[3 * kPageBytes] = 0;
  EXPECT_EQ(::recvmsg(ends[1], message, 0), 3);
  EXPECT_EQ(bytes[3 * kPageBytes], 'x');
  EXPECT_EQ(touches, 0);
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST_F(PageGuardTest, BytesThatACallDidNotReachStayGuarded) {
  const Pipe pipe;
  ASSERT_EQ(::write(pipe.ends[1], "abc", 3), 3);
  arm(3, 4);
  ASSERT_EQ(::read(pipe.ends[0], address(), 100), 3);
  EXPECT_EQ(touches, 0);
  EXPECT_EQ(bytes[3], 0);
  EXPECT_EQ(touches, 1);
}

TEST_F(PageGuardTest, DeviceMayHandGuardedBytesToTheKernel) {
  const Pipe pipe;
  arm(0, 20);
  const DeviceScope device(&guard);
  ASSERT_EQ(::write(pipe.ends[1], address(), 20), 20);
  EXPECT_EQ(touches, 0);
}

TEST_F(PageGuardTest, StreamsReadIntoGuardedPages) {
  arm(100, 4);
  FILE* zeros = std::fopen("/dev/zero", "r");
  ASSERT_NE(zeros, nullptr);
  EXPECT_EQ(std::fread(address(kPageBytes / 2), 1, kPageBytes, zeros), kPageBytes);
  std::fclose(zeros);
  EXPECT_EQ(touches, 0);
}

}  // namespace
}  // namespace mrpool::guard
