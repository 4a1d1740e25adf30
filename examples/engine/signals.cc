#include "examples/engine/signals.h"

#include <signal.h>
#include <unistd.h>

#include <utility>

namespace mrpool::engine {
namespace {

sigset_t signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&set, signal);
  return set;
}

// Ends the process like the default action of the signal.
void end_by(int signal) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, signal);
  pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
  ::raise(signal);
}

}  // namespace

void Signals::hold_reloads() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGHUP);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
}

void Signals::block() {
  const sigset_t set = signals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGXFSZ, SIG_IGN);  // exceeding a file's size limit becomes an error of the command
}

Signals::Signals(Nanoseconds stop_timeout, std::function<void()> overdue,
                 std::function<void(Event)> tell)
    : overdue_(std::move(overdue)),
      tell_(std::move(tell)),
      thread_([this, stop_timeout] { run(stop_timeout); }) {}

Signals::~Signals() {
  {
    const std::lock_guard lock(mutex_);
    finished_ = true;
  }
  changed_.notify_all();
  ::pthread_kill(thread_.native_handle(), SIGTERM);  // if it still waits for a signal
  thread_.join();
}

void Signals::started() {
  const std::lock_guard lock(mutex_);
  started_ = true;
}

void Signals::take_reload() {
  const std::lock_guard lock(mutex_);
  reload_ = false;
}

void Signals::run(Nanoseconds stop_timeout) {
  const sigset_t set = signals();
  int signal = 0;
  do {
    sigwait(&set, &signal);
    const std::lock_guard lock(mutex_);
    if (signal != SIGHUP && !started_ && !finished_) end_by(signal);
    if (signal != SIGHUP) {
      tell_(Event::kStop);
    } else if (!std::exchange(reload_, true)) {
      tell_(Event::kReload);
    }
  } while (signal == SIGHUP);
  std::unique_lock lock(mutex_);
  if (changed_.wait_for(lock, stop_timeout, [this] { return finished_; })) return;
  // The report may block: stderr may be a pipe that nobody reads.
  ::signal(SIGALRM, [](int) { ::_exit(1); });
  ::alarm(1);
  overdue_();
  ::_exit(1);
}

}  // namespace mrpool::engine
