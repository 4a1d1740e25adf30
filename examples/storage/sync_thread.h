// The helper thread of a file volume: fdatasync and fallocate, which block.
//
// Flushes that wait at the same time share one fdatasync. A failed sync is remembered: the kernel
// reports lost pages once, so from then on no flush of this volume succeeds.
//
// Thread safety: submit() from any thread; the answer arrives on `reactor`'s loop.
// Ownership: the descriptor is borrowed. The destructor waits for what was submitted.
#pragma once

#include <thread>

#include "examples/storage/helper_queue.h"
#include "examples/storage/storage.h"

namespace mrpool::storage {

class SyncThread {
 public:
  // Throws std::system_error when there is no thread to be had.
  explicit SyncThread(int fd);
  ~SyncThread();
  SyncThread(const SyncThread&) = delete;
  SyncThread& operator=(const SyncThread&) = delete;

  // Runs kFlush, kWriteZeroes, kDeallocate, or the sync of a kWrite with `fua` whose data has been
  // written. `finished` runs on `reactor`'s loop.
  using Finished = void (*)(Io& io);
  void submit(Io& io, Reactor& reactor, Finished finished);

 private:
  struct Job;
  void run();
  Error work(Io& io, bool& needs_sync);
  Error deallocate(const Io& io);
  Error zero(const Io& io);
  Error write_zeroes(uint64_t offset, uint64_t length);

  const int fd_;
  bool broken_ = false;  // a sync failed; the thread's own
  HelperQueue queue_;
  std::jthread thread_;
};

}  // namespace mrpool::storage
