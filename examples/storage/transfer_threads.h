// Reads and writes where io_uring is refused: kCount threads for each file, which block.
//
// The number bounds what one file can take: a disk that hangs blocks its own threads and no others.
// More requests than threads wait in order.
//
// Thread safety: submit() from any thread; the answer arrives on `reactor`'s loop.
// Ownership: descriptors are borrowed. The destructor waits for what was submitted.
#pragma once

#include <memory>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "examples/storage/helper_queue.h"
#include "examples/storage/storage.h"

namespace mrpool::storage {

class TransferThreads {
 public:
  static constexpr size_t kCount = 8;

  // Fewer threads than kCount will do; ResourceExhausted when not even one can be had.
  static absl::StatusOr<std::unique_ptr<TransferThreads>> create();
  ~TransferThreads();
  TransferThreads(const TransferThreads&) = delete;
  TransferThreads& operator=(const TransferThreads&) = delete;

  // A kRead or kWrite whose Transfer is in place, as Ring::submit.
  void submit(Io& io, Reactor& reactor);

 private:
  struct Job;
  TransferThreads() = default;
  void run();

  HelperQueue queue_;
  std::vector<std::jthread> threads_;
};

}  // namespace mrpool::storage
