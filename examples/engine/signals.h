// The signals of a daemon, on a thread of their own: so one that ends it is heard whatever the main
// loop is busy with, and its end has a limit whatever does not answer. What SIGHUP does:
// daemon.cc, then reload() in the main.cc of each daemon.
//
// Thread safety: one thread, but for `tell`. Ownership: none. Signals are blocked for good from the
// first on.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

#include "mrpool/reactor.h"

namespace mrpool::engine {

class Signals {
 public:
  // Holds SIGHUP back until there is a Signals; the first call of main.
  static void hold_reloads();
  // Blocks the signals here and in threads made from here on; before any is made.
  static void block();

  enum class Event { kReload, kStop };

  // Each event is told on the thread of the signals, which `tell` must not hold up: the first stop,
  // and a reload when the one before was taken.
  //
  // Until started() SIGINT and SIGTERM end the process as if nobody cared for them: nothing is
  // served yet, and what it waits for may never answer. From then on there is so much time until
  // this ends. After that `overdue` runs on the thread of the signals, and the process ends with
  // status 1, without destructors.
  Signals(Nanoseconds stop_timeout, std::function<void()> overdue, std::function<void(Event)> tell);
  // Waits for a signal to end it when there was none.
  ~Signals();
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

  void started();

  // The reload that was told is dealt with now; from here on the next one is told.
  void take_reload();

 private:
  void run(Nanoseconds stop_timeout);

  const std::function<void()> overdue_;
  const std::function<void(Event)> tell_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool reload_ = false;
  bool started_ = false;
  bool finished_ = false;
  std::thread thread_;
};

}  // namespace mrpool::engine
