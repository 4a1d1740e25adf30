// Reads and writes a file or a pipe in a thread of its own, so that a reactor which has keep-alives
// to answer never waits for either.
//
// One read or write at a time. cancel() ends a wait for a pipe, a socket or a terminal at once. It
// ends a read or write of a regular file when the kernel has finished it.
//
// Thread safety: the thread of the reactor; cancel() any thread.
// Ownership: descriptor, reactor and memory are the caller's. It is destroyed with nothing under
// way, or with a wait that ends without its `done`.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <thread>

#include "absl/status/statusor.h"
#include "mrpool/callback.h"
#include "mrpool/reactor.h"

namespace mrpool::load {

class FileWorker {
 public:
  // How many bytes were moved: as many as there is room for, or less at the end of the input.
  // DataLoss has the system's error; Cancelled follows cancel().
  using Done = std::function<void(absl::StatusOr<size_t>)>;

  // With `empties` the first write empties a regular file: nothing of it is destroyed before there
  // is something to put in its place. ResourceExhausted when the system has no descriptor or no
  // thread to give.
  static absl::StatusOr<std::unique_ptr<FileWorker>> create(Reactor& reactor, int fd,
                                                            bool empties = false);
  ~FileWorker();

  void read(std::span<std::byte> to, Done done) { begin(to, false, std::move(done)); }
  void write(std::span<const std::byte> from, Done done) {
    begin({const_cast<std::byte*>(from.data()), from.size()}, true, std::move(done));
  }
  void cancel();

 private:
  enum class State : uint8_t { kIdle, kAsked, kStopping };

  FileWorker(Reactor& reactor, int fd, int wake_fd, bool empties);
  void begin(std::span<std::byte> memory, bool writes, Done done);
  void work();
  void finish();
  absl::StatusOr<size_t> move();
  absl::Status wait() const;

  Reactor& reactor_;
  const int fd_;
  const int wake_fd_;  // readable: cancelled
  const bool regular_;
  bool empties_;  // before the next write
  std::span<std::byte> memory_;
  bool writes_ = false;
  Done done_;
  absl::StatusOr<size_t> result_ = size_t{0};
  Bound<Task, &FileWorker::finish> finished_{*this};
  std::mutex mutex_;
  std::condition_variable changed_;
  State state_ = State::kIdle;  // under mutex_
  std::thread thread_;
};

}  // namespace mrpool::load
