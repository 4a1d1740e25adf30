// The queue between reactors and the helper threads that make blocking calls for them.
//
// Thread safety: shared objects: safe. push() holds a lock for a few instructions.
// Ownership: requests stay their channel's.
#pragma once

#include <condition_variable>
#include <mutex>

#include "examples/storage/io_util.h"

namespace mrpool::storage {

// What goes through a queue lives in Io::scratch and goes back to its reactor as a task.
struct HelperJob : Task {
  using Finished = void (*)(Io& io);
  HelperJob(Io& request, Reactor& home, Task::Run run) : Task(run), io(&request), reactor(&home) {}
  Io* io;
  Reactor* reactor;
};

class HelperQueue {
 public:
  void push(Io& io) {
    {
      const std::lock_guard lock(mutex_);
      jobs_.push(io);
    }
    wake_.notify_one();
  }
  // Waits for one request; null: stop() was called and nothing is left.
  Io* pop() {
    std::unique_lock lock(mutex_);
    wake_.wait(lock, [this] { return stop_ || !jobs_.empty(); });
    return jobs_.pop();
  }
  // The same for all that wait, linked through Io::next.
  Io* take() {
    std::unique_lock lock(mutex_);
    wake_.wait(lock, [this] { return stop_ || !jobs_.empty(); });
    return jobs_.take();
  }
  void stop() {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    wake_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable wake_;
  IoList jobs_;
  bool stop_ = false;
};

}  // namespace mrpool::storage
