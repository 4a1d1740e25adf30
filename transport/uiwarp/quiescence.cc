#include "transport/uiwarp/quiescence.h"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <thread>

namespace mrpool::uiwarp {

namespace {
long membarrier(int command) { return syscall(SYS_membarrier, command, 0, 0); }
}  // namespace

Quiescence::Quiescence()
    : needs_fence_(membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) != 0) {}

Quiescence::Reader::Reader(Quiescence& owner) : owner_(owner) {
  const std::lock_guard lock(owner_.mutex_);
  owner_.readers_.push_back(this);
}

Quiescence::Reader::~Reader() {
  const std::lock_guard lock(owner_.mutex_);
  std::erase(owner_.readers_, this);
}

void Quiescence::synchronize() {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (!needs_fence_) membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED);
  const std::lock_guard lock(mutex_);
  for (Reader* reader : readers_) {
    const uint64_t seen = reader->phase_.load(std::memory_order_acquire);
    if (seen % 2 == 0) continue;
    while (reader->phase_.load(std::memory_order_acquire) == seen) std::this_thread::yield();
  }
}

}  // namespace mrpool::uiwarp
