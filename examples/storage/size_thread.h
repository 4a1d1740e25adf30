// Looks at the size of a file for reactors, where the file system may take long to report it.
//
// Looks that are asked for while one is under way share the next one.
//
// Thread safety: submit() from any thread; the answer arrives on `reactor`'s loop.
// Ownership: the descriptor is borrowed. The destructor waits for what was submitted.
#pragma once

#include <thread>

#include "examples/storage/helper_queue.h"

namespace mrpool::storage {

class SizeThread {
 public:
  // Throws std::system_error when there is no thread to be had.
  explicit SizeThread(int fd);
  ~SizeThread();
  SizeThread(const SizeThread&) = delete;
  SizeThread& operator=(const SizeThread&) = delete;

  // `look` is not a request of a host. Its `progress` is the size by then, as it was at some time
  // after this call; the highest number when it cannot be learned.
  void submit(Io& look, Reactor& reactor, HelperJob::Finished finished);

 private:
  void run();

  const int fd_;
  HelperQueue queue_;
  std::jthread thread_;
};

}  // namespace mrpool::storage
