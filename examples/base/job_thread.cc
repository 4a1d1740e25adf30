#include "examples/base/job_thread.h"

#include <system_error>
#include <utility>

#include "examples/base/block_signals.h"

namespace mrpool::base {

JobThread::~JobThread() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
    if (at_end_ == AtEnd::kDropJobs) jobs_.clear();
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
}

bool JobThread::begin_locked() {
  if (thread_.joinable()) return true;
  try {
    thread_ = std::thread([this] { work(); });
    return true;
  } catch (const std::system_error&) {
    return false;
  }
}

void JobThread::run(std::function<void()> job) {
  {
    const std::lock_guard lock(mutex_);
    if (begin_locked()) {
      jobs_.push_back(std::move(job));
      job = nullptr;
    }
  }
  if (job != nullptr) return job();
  wake_.notify_one();
}

void JobThread::work() {
  block_signals();
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return stop_ || !jobs_.empty(); });
    if (jobs_.empty()) return;
    {
      const std::function<void()> job = std::move(jobs_.front());
      jobs_.pop_front();
      lock.unlock();
      job();
    }
    lock.lock();
  }
}

}  // namespace mrpool::base
