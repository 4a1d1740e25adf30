#include "examples/nvmf/target/proof_thread.h"

#include <system_error>
#include <utility>

#include "examples/storage/helper_queue.h"

namespace mrpool::nvmf_target {

ProofThread::~ProofThread() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
    jobs_.clear();
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

bool ProofThread::begin_locked() {
  if (thread_.joinable()) return true;
  try {
    thread_ = std::thread([this] { run(); });
    return true;
  } catch (const std::system_error&) {
    return false;
  }
}

void ProofThread::submit(std::function<void()> job) {
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

void ProofThread::run() {
  storage::block_signals();
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return stop_ || !jobs_.empty(); });
    if (stop_) return;
    const std::function<void()> job = std::move(jobs_.front());
    jobs_.pop_front();
    lock.unlock();
    job();
    lock.lock();
  }
}

}  // namespace mrpool::nvmf_target
