// The program's calls about signals. It may install handlers of SIGSEGV and SIGTRAP, which run for
// what no guard explains, and cannot block the two: a fault of a thread that blocks them ends the
// process.
#include <cerrno>
#include <csignal>

#include "transport/checker/guard/handlers.h"
#include "transport/checker/guard/next.h"
#include "transport/checker/guard/spin_lock.h"

namespace mrpool::guard {
namespace {

void let_faults_through(sigset_t& set) {
  sigdelset(&set, SIGSEGV);
  sigdelset(&set, SIGTRAP);
}

int set_action(int signal, const struct sigaction* action, struct sigaction* old) {
  if (struct sigaction* mine = program_action(signal); mine != nullptr) {
    const struct sigaction before = *mine;
    if (action != nullptr) *mine = *action;
    if (old != nullptr) *old = before;
    return 0;
  }
  if (action == nullptr) return real_sigaction(signal, nullptr, old);
  struct sigaction copy = *action;
  let_faults_through(copy.sa_mask);
  return real_sigaction(signal, &copy, old);
}

int set_mask(int how, const sigset_t* set, sigset_t* old) {
  if (set == nullptr || how == SIG_UNBLOCK) return real_sigmask(how, set, old);
  sigset_t copy = *set;
  let_faults_through(copy);
  return real_sigmask(how, &copy, old);
}

sighandler_t set_handler(int signal, sighandler_t handler, int flags) {
  struct sigaction action {};
  struct sigaction old {};
  action.sa_handler = handler;
  action.sa_flags = flags;
  sigemptyset(&action.sa_mask);
  return set_action(signal, &action, &old) == 0 ? old.sa_handler : SIG_ERR;
}

}  // namespace
}  // namespace mrpool::guard

// What the program calls.
#pragma GCC visibility push(default)
extern "C" {

int sigaction(int signal, const struct sigaction* action, struct sigaction* old) noexcept {
  return mrpool::guard::set_action(signal, action, old);
}

sighandler_t signal(int signal, sighandler_t handler) noexcept {
  return mrpool::guard::set_handler(signal, handler, SA_RESTART);
}

sighandler_t __sysv_signal(int signal, sighandler_t handler) noexcept {
  return mrpool::guard::set_handler(signal, handler, SA_RESETHAND | SA_NODEFER);
}

int pthread_sigmask(int how, const sigset_t* set, sigset_t* old) noexcept {
  return mrpool::guard::set_mask(how, set, old);
}

int sigprocmask(int how, const sigset_t* set, sigset_t* old) noexcept {
  const int error = mrpool::guard::set_mask(how, set, old);
  if (error == 0) return 0;
  errno = error;
  return -1;
}

}  // extern "C"
#pragma GCC visibility pop
