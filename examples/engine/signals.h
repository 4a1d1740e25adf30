// The signals of a daemon, on a thread of their own: so one that ends it is heard whatever the main
// thread is busy with, and its end has a limit whatever does not answer. What SIGHUP does:
// daemon.cc, then reload() in the main.cc of each daemon.
//
// Thread safety: one thread. Ownership: none. Signals are blocked for good from the first on.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>

#include "mrpool/reactor.h"

namespace mrpool::engine {

class Signals {
 public:
  // Holds SIGHUP back until there is a Signals; the first call of main.
  static void hold_reloads();
  // Blocks the signals here and in threads made from here on; before any is made.
  static void block();

  // Until started() SIGINT and SIGTERM end the process as if nobody cared for them: nothing is
  // served yet, and what it waits for may never answer. From then on there is so much time until
  // this ends. After that `overdue` runs on the thread of the signals, and the process ends with
  // status 1, without destructors.
  Signals(Nanoseconds stop_timeout, std::function<void()> overdue);
  // Waits for a signal to end it when there was none.
  ~Signals();
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

  void started();

  enum class Event { kReload, kStop };
  // Waits for the next, for so long at most; several reloads that nobody waited for are one.
  std::optional<Event> next(Nanoseconds patience);
  std::optional<Event> next();

 private:
  void run(Nanoseconds stop_timeout);
  std::optional<Event> take();

  const std::function<void()> overdue_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool reload_ = false;
  bool stop_ = false;
  bool started_ = false;
  bool finished_ = false;
  std::thread thread_;
};

}  // namespace mrpool::engine
