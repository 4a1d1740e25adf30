// Guards together with the program's own handlers of SIGSEGV and SIGTRAP, and real crashes.
#include <sys/wait.h>
#include <unistd.h>

#include <csetjmp>
#include <csignal>
#include <thread>

#include "tests/unit/transport/checker/guard/guarded_memory.h"

namespace mrpool::guard {
namespace {

using GuardSignals = GuardedMemory;

// Runs `body` in a child; its wait status.
template <typename Body>
int status_of(Body&& body) {
  const pid_t child = ::fork();
  if (child == 0) {
    PageGuard::get().start({});
    body();
    ::_exit(0);
  }
  int status = -1;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  return status;
}

volatile int* null_pointer() {
  volatile int* volatile null = nullptr;
  return null;
}

TEST_F(GuardSignals, CrashStaysACrash) {
  const int status = status_of([] { *null_pointer() = 1; });
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(WTERMSIG(status), SIGSEGV);
}

TEST_F(GuardSignals, BreakpointStaysATrap) {
  const int status = status_of([] { asm volatile("int3"); });
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(WTERMSIG(status), SIGTRAP);
}

TEST_F(GuardSignals, SentSignalEndsTheProcess) {
  const int status = status_of([] { ::kill(::getpid(), SIGSEGV); });
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(WTERMSIG(status), SIGSEGV);
}

std::jmp_buf back;
void* seen_address = nullptr;

void jump_back(int, siginfo_t* info, void*) {
  seen_address = info->si_addr;
  ::siglongjmp(back, 1);
}

TEST_F(GuardSignals, ProgramsHandlerGetsItsFaults) {
  struct sigaction action {};
  struct sigaction before {};
  action.sa_sigaction = jump_back;
  action.sa_flags = SA_SIGINFO;
  ASSERT_EQ(::sigaction(SIGSEGV, &action, &before), 0);
  struct sigaction now {};
  ASSERT_EQ(::sigaction(SIGSEGV, nullptr, &now), 0);
  EXPECT_EQ(now.sa_sigaction, &jump_back);
  arm(100, 4);
  for (int i = 0; i < 3; ++i) {
    if (sigsetjmp(back, 1) == 0) {
      *null_pointer() = 1;
      ADD_FAILURE() << "not reached";
    }
    EXPECT_EQ(seen_address, nullptr);
  }
  EXPECT_EQ(touches, 0);
  EXPECT_EQ(bytes[100], 0);
  EXPECT_EQ(touches, 1);
  ::sigaction(SIGSEGV, &before, nullptr);
}

TEST_F(GuardSignals, HandlerByOldCall) {
  const auto before = ::signal(SIGSEGV, [](int) { ::siglongjmp(back, 1); });
  if (sigsetjmp(back, 1) == 0) *null_pointer() = 1;
  EXPECT_NE(::signal(SIGSEGV, before), SIG_ERR);
}

TEST_F(GuardSignals, ThreadThatBlocksAllSignals) {
  arm(100, 4);
  std::thread([this] {
    sigset_t all;
    sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, nullptr);
    bytes[0] = 1;
    bytes[100] = 1;
  }).join();
  EXPECT_EQ(touches, 1);
}

volatile uint8_t* byte_for_handler = nullptr;

TEST_F(GuardSignals, HandlerOfTheProgramTouches) {
  arm(100, 4);
  byte_for_handler = bytes + 100;
  struct sigaction action {};
  struct sigaction before {};
  action.sa_handler = [](int) { *byte_for_handler = 3; };
  sigfillset(&action.sa_mask);
  ASSERT_EQ(::sigaction(SIGUSR1, &action, &before), 0);
  ::raise(SIGUSR1);
  EXPECT_EQ(touches, 1);
  ::sigaction(SIGUSR1, &before, nullptr);
}

}  // namespace
}  // namespace mrpool::guard
