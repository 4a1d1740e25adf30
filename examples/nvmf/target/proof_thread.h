// A thread for the Diffie-Hellman computations of authentications. They take milliseconds, which
// would delay the I/O of a worker's other hosts.
//
// The thread runs jobs in the order of submission. A queue has at most one transaction, so there
// are at most as many jobs as connections. The first job starts the thread. If no thread can be
// started, submit() runs the job itself.
//
// Thread safety: submit(): any thread. Ownership: the destructor drops jobs that have not begun;
// the objects that jobs use must outlive it.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace mrpool::nvmf_target {

class ProofThread {
 public:
  ProofThread() = default;
  ~ProofThread();
  ProofThread(const ProofThread&) = delete;
  ProofThread& operator=(const ProofThread&) = delete;

  void submit(std::function<void()> job);

 private:
  void run();
  bool begin_locked();

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> jobs_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace mrpool::nvmf_target
