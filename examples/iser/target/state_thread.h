// The thread that keeps persistent reservations: commands that wait for a file to be durable run
// here, one after the other, so that no reactor waits.
//
// Thread safety: run() from any thread. Ownership: the destructor runs what was given and joins.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace mrpool::iser_target {

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

}  // namespace mrpool::iser_target
