#include "transport/checker/guard/handlers.h"

#include <pthread.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>

#include "transport/checker/guard/next.h"
#include "transport/checker/guard/page_guard.h"
#include "transport/checker/guard/spin_lock.h"

namespace mrpool::guard {
namespace {

struct sigaction of_program[2];  // SIGSEGV, SIGTRAP
std::atomic<bool> installed{false};

// A signal that a process sent was not caused by a fault, so no fault would repeat it.
bool was_sent(const siginfo_t& info) { return info.si_code <= 0; }

void on_fault(int signal, siginfo_t* info, void* context) {
  const int before = errno;
  if (was_sent(*info) ||
      !PageGuard::get().handle_fault(*info, *static_cast<ucontext_t*>(context))) {
    chain(signal, info, context);
  }
  errno = before;
}

void on_trap(int signal, siginfo_t* info, void* context) {
  const int before = errno;
  if (was_sent(*info) || !PageGuard::get().handle_trap(*static_cast<ucontext_t*>(context))) {
    chain(signal, info, context);
  }
  errno = before;
}

// With the default action in place a fault happens again as it returns, with its own address.
void end_by_default(int signal, const siginfo_t& info) {
  struct sigaction action {};
  action.sa_handler = SIG_DFL;
  real_sigaction(signal, &action, nullptr);
  if (was_sent(info) || signal == SIGTRAP) ::syscall(SYS_tgkill, ::getpid(), ::gettid(), signal);
}

void run(const struct sigaction& action, int signal, siginfo_t* info, void* context) {
  sigset_t mask = action.sa_mask;
  if ((action.sa_flags & SA_NODEFER) == 0) sigaddset(&mask, signal);
  // The handler may touch guarded memory like any other code.
  sigdelset(&mask, SIGSEGV);
  sigdelset(&mask, SIGTRAP);
  sigset_t before;
  real_sigmask(SIG_BLOCK, &mask, &before);
  if ((action.sa_flags & SA_SIGINFO) != 0) {
    action.sa_sigaction(signal, info, context);
  } else {
    action.sa_handler(signal);
  }
  real_sigmask(SIG_SETMASK, &before, nullptr);
}

bool install(int signal, void (*handler)(int, siginfo_t*, void*), struct sigaction* old) {
  struct sigaction action {};
  action.sa_sigaction = handler;
  // The signal is not blocked meanwhile: the callback of a touch may touch guarded memory itself.
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER | SA_RESTART;
  sigemptyset(&action.sa_mask);
  return real_sigaction(signal, &action, old) == 0;
}

}  // namespace

int real_sigaction(int signal, const struct sigaction* action, struct sigaction* old) {
  static auto* const real = next<int(int, const struct sigaction*, struct sigaction*)>("sigaction");
  return real(signal, action, old);
}

int real_sigmask(int how, const sigset_t* set, sigset_t* old) {
  static auto* const real = next<int(int, const sigset_t*, sigset_t*)>("pthread_sigmask");
  return real(how, set, old);
}

bool install_handlers() {
  real_sigmask(SIG_BLOCK, nullptr, nullptr);  // looked up before a handler needs it
  if (!install(SIGSEGV, on_fault, &of_program[0]) || !install(SIGTRAP, on_trap, &of_program[1])) {
    return false;
  }
  sigset_t both;
  sigemptyset(&both);
  sigaddset(&both, SIGSEGV);
  sigaddset(&both, SIGTRAP);
  real_sigmask(SIG_UNBLOCK, &both, nullptr);
  installed.store(true, std::memory_order_release);
  return true;
}

bool handlers_installed() { return installed.load(std::memory_order_acquire); }

struct sigaction* program_action(int signal) {
  if (!handlers_installed()) return nullptr;
  if (signal == SIGSEGV) return &of_program[0];
  return signal == SIGTRAP ? &of_program[1] : nullptr;
}

void chain(int signal, siginfo_t* info, void* context) {
  struct sigaction* mine = program_action(signal);
  const struct sigaction action = *mine;
  if ((action.sa_flags & SA_RESETHAND) != 0) mine->sa_handler = SIG_DFL;
  const bool has_handler = (action.sa_flags & SA_SIGINFO) != 0 ||
                           (action.sa_handler != SIG_DFL && action.sa_handler != SIG_IGN);
  if (has_handler) {
    run(action, signal, info, context);
  } else if (action.sa_handler != SIG_IGN || !was_sent(*info)) {
    end_by_default(signal, *info);
  }
}

}  // namespace mrpool::guard
