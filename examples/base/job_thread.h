// A thread for jobs that would delay a reactor: waiting until a file is durable, the Diffie-Hellman
// computations of authentications.
//
// The thread runs one job at a time, in the order of run(). The first job starts the thread. If no
// thread can be started, run() runs the job itself.
//
// Thread safety: run(): any thread. Ownership: the destructor joins the thread; the objects that
// jobs use must outlive it.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace mrpool::base {

class JobThread {
 public:
  // What the destructor does with jobs that have not begun.
  enum class AtEnd { kRunJobs, kDropJobs };

  explicit JobThread(AtEnd at_end) : at_end_(at_end) {}
  ~JobThread();
  JobThread(const JobThread&) = delete;
  JobThread& operator=(const JobThread&) = delete;

  void run(std::function<void()> job);

 private:
  bool begin_locked();
  void work();

  const AtEnd at_end_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> jobs_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace mrpool::base
