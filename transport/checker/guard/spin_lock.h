// A lock that signal handlers may take: its holder has all signals blocked.
//
// Nothing that the program guards is touched while it is held, so its holder does not fault.
// Memory ordering: the exchange acquires what the store of the holder before released.
#pragma once

#include <pthread.h>
#include <sched.h>

#include <atomic>
#include <csignal>

namespace mrpool::guard {

class SpinLock {
 public:
  void lock() {
    while (held_.exchange(true, std::memory_order_acquire)) ::sched_yield();
  }
  void unlock() { held_.store(false, std::memory_order_release); }

 private:
  std::atomic<bool> held_{false};
};

// The system's function, not the one of this library that programs call.
int real_sigmask(int how, const sigset_t* set, sigset_t* old);

class Locked {
 public:
  explicit Locked(SpinLock& lock) : lock_(lock) {
    sigset_t all;
    sigfillset(&all);
    real_sigmask(SIG_SETMASK, &all, &before_);
    lock_.lock();
  }
  ~Locked() {
    lock_.unlock();
    real_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  Locked(const Locked&) = delete;
  Locked& operator=(const Locked&) = delete;

 private:
  SpinLock& lock_;
  sigset_t before_;
};

}  // namespace mrpool::guard
