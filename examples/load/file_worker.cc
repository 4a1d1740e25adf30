#include "examples/load/file_worker.h"

#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace mrpool::load {
namespace {

bool is_regular(int fd) {
  struct stat info {};
  return ::fstat(fd, &info) == 0 && S_ISREG(info.st_mode);
}

absl::Status failed(bool writes) {
  return absl::DataLossError(
      absl::StrCat(writes ? "writing the output: " : "reading the input: ", std::strerror(errno)));
}

}  // namespace

absl::StatusOr<std::unique_ptr<FileWorker>> FileWorker::create(Reactor& reactor, int fd,
                                                               bool empties) {
  const int wake_fd = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (wake_fd < 0) {
    return absl::ResourceExhaustedError(absl::StrCat("eventfd: ", std::strerror(errno)));
  }
  std::unique_ptr<FileWorker> worker(new FileWorker(reactor, fd, wake_fd, empties));
  // Signals are for the thread that runs the reactor.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  try {
    worker->thread_ = std::thread([&self = *worker] { self.work(); });
  } catch (const std::system_error& error) {
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    return absl::ResourceExhaustedError(absl::StrCat("no thread for a file: ", error.what()));
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return worker;
}

FileWorker::FileWorker(Reactor& reactor, int fd, int wake_fd, bool empties)
    : reactor_(reactor),
      fd_(fd),
      wake_fd_(wake_fd),
      regular_(is_regular(fd)),
      empties_(regular_ && empties) {}

FileWorker::~FileWorker() {
  cancel();
  {
    const std::lock_guard lock(mutex_);
    state_ = State::kStopping;
  }
  changed_.notify_one();
  if (thread_.joinable()) thread_.join();
  reactor_.cancel(finished_);
  ::close(wake_fd_);
}

void FileWorker::cancel() {
  const uint64_t one = 1;
  (void)!::write(wake_fd_, &one, sizeof one);  // full: it is readable already
}

void FileWorker::begin(std::span<std::byte> memory, bool writes, Done done) {
  {
    const std::lock_guard lock(mutex_);
    memory_ = memory;
    writes_ = writes;
    done_ = std::move(done);
    state_ = State::kAsked;
  }
  changed_.notify_one();
}

void FileWorker::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return state_ != State::kIdle; });
    if (state_ == State::kStopping) return;
    lock.unlock();
    auto result = move();
    lock.lock();
    if (state_ == State::kStopping) return;
    result_ = std::move(result);
    state_ = State::kIdle;
    reactor_.post(finished_);
  }
}

void FileWorker::finish() {
  absl::StatusOr<size_t> result = size_t{0};
  Done done;
  {
    const std::lock_guard lock(mutex_);
    std::swap(result, result_);
    done = std::exchange(done_, nullptr);
  }
  done(std::move(result));
}

// Until the descriptor can be read or written.
absl::Status FileWorker::wait() const {
  pollfd waits[] = {{wake_fd_, POLLIN, 0}, {fd_, short(writes_ ? POLLOUT : POLLIN), 0}};
  for (;;) {
    // A regular file is always ready.
    const int ready = ::poll(waits, 2, regular_ ? 0 : -1);
    if (ready < 0 && errno != EINTR) return failed(writes_);
    if ((waits[0].revents & POLLIN) != 0) return absl::CancelledError("interrupted");
    if (ready > 0 || regular_) return absl::OkStatus();
  }
}

absl::StatusOr<size_t> FileWorker::move() {
  size_t done = 0;
  if (writes_ && std::exchange(empties_, false) && ::ftruncate(fd_, 0) != 0) return failed(true);
  while (done < memory_.size()) {
    if (absl::Status status = wait(); !status.ok()) return status;
    size_t most = memory_.size() - done;
    // Whatever is ready has room for this much and does not block.
    if (writes_ && !regular_) most = std::min<size_t>(most, PIPE_BUF);
    const ssize_t n = writes_ ? ::write(fd_, memory_.data() + done, most)
                              : ::read(fd_, memory_.data() + done, most);
    if (n < 0 && errno != EINTR && errno != EAGAIN) return failed(writes_);
    if (n == 0 && !writes_) break;
    if (n > 0) done += size_t(n);
  }
  return done;
}

}  // namespace mrpool::load
