#include "examples/storage/sync_thread.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <new>
#include <vector>

namespace mrpool::storage {

// Lives in the request's scratch space while the helper has it.
struct SyncThread::Job : Task {
  Job(Io& request, Reactor& home, Finished done)
      : Task([](Task& self) {
          Job& job = static_cast<Job&>(self);
          const Finished finish = job.finished;
          Io& io_done = *job.io;
          finish(io_done);
        }),
        io(&request),
        reactor(&home),
        finished(done) {}
  Io* io;
  Reactor* reactor;
  Finished finished;
  bool needs_sync = false;
};

SyncThread::SyncThread(int fd) : fd_(fd), thread_([this] { run(); }) {}

SyncThread::~SyncThread() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void SyncThread::submit(Io& io, Reactor& reactor, Finished finished) {
  static_assert(sizeof(Job) <= sizeof io.scratch);
  new (io.scratch) Job(io, reactor, finished);
  {
    const std::lock_guard lock(mutex_);
    jobs_.push(io);
  }
  wake_.notify_one();
}

void SyncThread::run() {
  // The program's signals are for others: here one would end a system call half way (EINTR, on FUSE
  // for fdatasync too), which must not look like a fault of the disk.
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, nullptr);
  const auto job = [](Io& io) -> Job& { return *std::launder(reinterpret_cast<Job*>(io.scratch)); };
  while (true) {
    Io* batch = nullptr;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return stop_ || !jobs_.empty(); });
      if (jobs_.empty()) return;
      batch = jobs_.take();
    }
    bool sync = false;
    for (Io* io = batch; io != nullptr; io = io->next) {
      Job& j = job(*io);
      io->error = work(*io, j.needs_sync);
      sync |= j.needs_sync;
    }
    Error synced = Error::kNone;
    if (sync) {
      if (!broken_ && fdatasync(fd_) != 0) broken_ = true;
      if (broken_) synced = Error::kMediaWrite;
    }
    for (Io* io = batch; io != nullptr;) {
      Io* next = io->next;  // the request may be gone once its task is posted
      Job& j = job(*io);
      if (j.needs_sync && io->error == Error::kNone) io->error = synced;
      j.reactor->post(j);
      io = next;
    }
  }
}

Error SyncThread::work(Io& io, bool& needs_sync) {
  switch (io.op) {
    case Op::kFlush:
      needs_sync = true;
      return Error::kNone;
    case Op::kWrite:
      needs_sync = io.fua;
      return Error::kNone;
    case Op::kWriteZeroes:
      needs_sync = io.fua;
      return zero(io);
    case Op::kDeallocate: {
      if (io.length == 0) return Error::kNone;
      // A hint: a file system or device that cannot is no error.
      if (fallocate(fd_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, off_t(io.offset),
                    off_t(io.length)) == 0 ||
          errno == EOPNOTSUPP) {
        return Error::kNone;
      }
      return from_errno(errno, io.op);
    }
    case Op::kRead:
    case Op::kHold:
      break;
  }
  return Error::kUnsupported;
}

Error SyncThread::zero(const Io& io) {
  if (io.length == 0) return Error::kNone;
  const int mode = (io.deallocate ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE);
  if (fallocate(fd_, mode | FALLOC_FL_KEEP_SIZE, off_t(io.offset), off_t(io.length)) == 0) {
    return Error::kNone;
  }
  if (errno != EOPNOTSUPP) return from_errno(errno, io.op);
  return write_zeroes(io.offset, io.length);
}

Error SyncThread::write_zeroes(uint64_t offset, uint64_t length) {
  constexpr size_t kPiece = 1 << 20;
  const std::unique_ptr<void, decltype(&free)> zeroes(aligned_alloc(4096, kPiece), free);
  if (zeroes == nullptr) return Error::kInternal;
  std::fill_n(static_cast<char*>(zeroes.get()), kPiece, '\0');
  while (length > 0) {
    const ssize_t n = pwrite(fd_, zeroes.get(), std::min<uint64_t>(length, kPiece), off_t(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return from_errno(n < 0 ? errno : EIO, Op::kWriteZeroes);
    offset += uint64_t(n);
    length -= uint64_t(n);
  }
  return Error::kNone;
}

}  // namespace mrpool::storage
