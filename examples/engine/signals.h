// Handles a daemon's signals on a separate thread. So SIGTERM is received even while the main loop
// is busy, and the stop has a time limit even if a store or a peer does not respond. For SIGHUP see
// daemon.cc, then reload() in the main.cc of each daemon.
//
// Thread safety: one thread, except `tell`. Ownership: none. The signals stay blocked from the
// first call until the process ends.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

#include "mrpool/reactor.h"

namespace mrpool::engine {

class Signals {
 public:
  // Blocks SIGHUP until a Signals object exists; the first call of main.
  static void hold_reloads();
  // Blocks the signals in this thread and in threads that it starts; call it before any thread is
  // started.
  static void block();

  enum class Event { kReload, kStop };

  // `tell` receives each event on the signal thread and must not block: the first stop, and a
  // reload if the previous one was taken.
  //
  // Until started(), SIGINT and SIGTERM end the process immediately: nothing is served yet, and the
  // start may wait for something that never responds. Later a stop may take `stop_timeout` until
  // the destructor. After that `overdue` runs on the signal thread, and the process ends with
  // status 1, without destructors.
  Signals(Nanoseconds stop_timeout, std::function<void()> overdue, std::function<void(Event)> tell);
  // Waits for a signal that stops the daemon, if none has arrived.
  ~Signals();
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

  void started();

  // The announced reload begins now; the next SIGHUP is announced again.
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
