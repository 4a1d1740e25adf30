#include "examples/engine/call_filter.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <functional>
#include <latch>
#include <string>
#include <thread>
#include <vector>

#include "examples/engine/system_calls.h"

namespace mrpool::engine {
namespace {

using ::testing::KilledBySignal;

// In a process of its own, as a filter stays.
void filtered(CallFilter how, const std::function<void()>& then) {
  if (!filter_calls(how).ok()) std::_Exit(99);
  then();
  std::_Exit(0);
}

bool refused(long result) { return result == -1 && errno == ENOSYS; }

void expect(bool holds) {
  if (!holds) std::_Exit(1);
}

TEST(CallFilterDeathTest, FatalCallsEndTheProcess) {
  const std::vector<std::function<void()>> calls = {
      [] { ::execl("/bin/true", "true", nullptr); },
      [] { ::syscall(SYS_execveat, -1, "", nullptr, nullptr, 0); },
      [] { ::syscall(SYS_process_vm_writev, ::getpid(), nullptr, 0, nullptr, 0, 0); },
      [] { ::syscall(SYS_setuid, 0); },
      [] { ::syscall(SYS_mount, nullptr, nullptr, nullptr, 0, nullptr); },
      [] { ::mmap(nullptr, 4096, PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); },
  };
  for (const auto& call : calls) {
    EXPECT_EXIT(filtered(CallFilter::kEnforce, call), KilledBySignal(SIGSYS), "");
  }
}

TEST(CallFilterDeathTest, OthersFailAsOnAnOlderKernel) {
  const auto calls = [] {
    expect(refused(::syscall(SYS_acct, nullptr)));
    expect(refused(::socket(AF_PACKET, SOCK_RAW, 0)));
    expect(refused(::ioctl(0, TIOCSTI, "x")));
    expect(refused(::syscall(SYS_tgkill, 1, 1, SIGTERM)));
  };
  EXPECT_EXIT(filtered(CallFilter::kEnforce, calls), ::testing::ExitedWithCode(0), "");
}

TEST(CallFilterDeathTest, WhatServingNeedsWorks) {
  const auto calls = [] {
    std::thread([] { ::pthread_setname_np(::pthread_self(), "worker"); }).join();
    expect(::close(::socket(AF_INET6, SOCK_STREAM, 0)) == 0);
    void* memory =
        ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    expect(memory != MAP_FAILED && ::mprotect(memory, 4096, PROT_READ) == 0);
    expect(::sysconf(_SC_OPEN_MAX) > 0);
  };
  EXPECT_EXIT(filtered(CallFilter::kEnforce, calls), ::testing::ExitedWithCode(0), "");
}

TEST(CallFilterDeathTest, IsOfEveryThread) {
  const auto run = [] {
    std::latch filters(1), called(1);
    std::thread before([&] {
      filters.wait();
      expect(refused(::syscall(SYS_acct, nullptr)));
      called.count_down();
    });
    expect(filter_calls(CallFilter::kEnforce).ok());
    filters.count_down();
    called.wait();
    before.join();
    std::_Exit(0);
  };
  EXPECT_EXIT(run(), ::testing::ExitedWithCode(0), "");
}

TEST(CallFilterDeathTest, TheLogRefusesNothing) {
  const auto calls = [] {
    expect(::syscall(SYS_acct, "/nowhere") == -1 && errno != ENOSYS);
    ::execl("/bin/true", "true", nullptr);
    expect(false);
  };
  EXPECT_EXIT(filtered(CallFilter::kLog, calls), ::testing::ExitedWithCode(0), "");
}

// As docs/operate/service.md lists them; a name that is misspelt would be left out of the filter.
TEST(CallFilter, ListsNamesOfCalls) {
  const auto check = [](const auto& list) {
    EXPECT_TRUE(std::ranges::is_sorted(list));
    for (const std::string_view name : list) {
      EXPECT_NE(::seccomp_syscall_resolve_name(std::string(name).c_str()), __NR_SCMP_ERROR) << name;
    }
  };
  check(kAllowedCalls);
  check(kFatalCalls);
  for (const std::string_view name : kFatalCalls) {
    EXPECT_FALSE(std::ranges::binary_search(kAllowedCalls, name)) << name;
  }
}

}  // namespace
}  // namespace mrpool::engine
