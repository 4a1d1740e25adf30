// The thread that saves persistent reservations. It waits until a file is durable, one job at a
// time, so that no reactor blocks.
//
// Thread safety: run() from any thread. Ownership: the destructor runs the pending jobs and joins
// the thread.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace mrpool::storage {

class StateThread {
 public:
  StateThread();
  ~StateThread();
  StateThread(const StateThread&) = delete;
  StateThread& operator=(const StateThread&) = delete;

  void run(std::function<void()> job);

 private:
  void work();

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> jobs_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace mrpool::storage
