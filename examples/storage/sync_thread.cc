#include "examples/storage/sync_thread.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <new>
#include <vector>

#include "examples/base/block_signals.h"
#include "examples/storage/file_size.h"
#include "mrpool/callback.h"

namespace mrpool::storage {

// Lives in the request's scratch space while the helper has it.
struct SyncThread::Job : HelperJob {
  Job(Io& request, Reactor& home, Finished done)
      : HelperJob(request, home, to_method<&Job::finish>), finished(done) {}
  void finish() { finished(*io); }
  Finished finished;
  bool needs_sync = false;
};

SyncThread::SyncThread(int fd) : fd_(fd), thread_([this] { run(); }) {}

SyncThread::~SyncThread() { queue_.stop(); }

void SyncThread::submit(Io& io, Reactor& reactor, Finished finished) {
  static_assert(sizeof(Job) <= sizeof io.scratch);
  new (io.scratch) Job(io, reactor, finished);
  queue_.push(io);
}

void SyncThread::run() {
  base::block_signals();
  const auto job = [](Io& io) -> Job& { return *std::launder(reinterpret_cast<Job*>(io.scratch)); };
  while (Io* batch = queue_.take()) {
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
    case Op::kDeallocate:
      return deallocate(io);
    case Op::kRead:
    case Op::kHold:
      break;
  }
  return Error::kUnsupported;
}

Error SyncThread::deallocate(const Io& io) {
  if (io.length == 0) return Error::kNone;
  if (ends_before(fd_, io.offset + io.length)) return Error::kOutOfRange;
  // A hint: a file system or device that cannot do it is not an error.
  if (fallocate(fd_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, off_t(io.offset),
                off_t(io.length)) == 0 ||
      errno == EOPNOTSUPP) {
    return Error::kNone;
  }
  return from_errno(errno, io.op);
}

Error SyncThread::zero(const Io& io) {
  if (io.length == 0) return Error::kNone;
  if (ends_before(fd_, io.offset + io.length)) return Error::kOutOfRange;
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
