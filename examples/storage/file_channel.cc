#include "examples/storage/file_channel.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>
#include <system_error>
#include <thread>

#include "absl/strings/str_cat.h"
#include "examples/base/block_signals.h"
#include "examples/base/log.h"
#include "examples/storage/file_size.h"
#include "examples/storage/io_util.h"
#include "examples/storage/transfer.h"
#include "examples/storage/users.h"

namespace mrpool::storage {

void report_fallback(const std::string& spec, absl::string_view cause) {
  static std::mutex mutex;
  static std::string last;
  const std::lock_guard lock(mutex);
  if (last == cause) return;
  last = std::string(cause);
  base::log({.event = base::Event::kStoreFallback,
             .store = spec,
             .message = absl::StrCat(spec, ": no io_uring: ", cause, "; files are served by ",
                                     TransferThreads::kCount, " threads each, which is slower")});
}

OpenFile::OpenFile(std::string spec, std::string path, std::shared_ptr<const Descriptor> fd,
                   bool regular, std::shared_ptr<const Claim> claim, const Geometry& geometry)
    : spec_(std::move(spec)),
      path_(std::move(path)),
      claim_(std::move(claim)),
      fd_(std::move(fd)),
      regular_(regular),
      geometry_(geometry),
      blocks_(geometry.blocks),
      sync_(fd_->get()),
      sizes_(regular && !tells_size_at_once(fd_->get()) ? std::make_unique<SizeThread>(fd_->get())
                                                        : nullptr) {}

void OpenFile::end(OpenFile* file) {
  announce_end(*file->claim_);
  try {
    std::thread([file] {
      base::block_signals();
      delete file;
    }).detach();
  } catch (const std::system_error&) {  // no thread to be had
    delete file;
  }
}

absl::Status OpenFile::still_there() const {
  struct stat info {};
  if (::stat(path_.c_str(), &info) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat(path_, ", which is being served"));
  }
  if (!identity().is(info)) {
    return absl::FailedPreconditionError(
        absl::StrCat(path_, " was replaced: what is being served is ", identity().text(),
                     " and is no longer at this path"));
  }
  const std::string users = regular_ ? users_of_file(info, geometry_.read_only) : std::string();
  if (users.empty()) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat(path_, ", which is being served, ", users));
}

absl::StatusOr<SizeChange> OpenFile::refresh(uint64_t grow_to) {
  const std::lock_guard lock(refreshing_);
  std::optional<uint64_t> bytes = file_size(fd_->get(), Freshness::kServer);
  if (bytes && *bytes < grow_to) {
    if (!regular_ || geometry_.read_only) {
      return absl::FailedPreconditionError(
          absl::StrCat(path_, " has ", *bytes, " bytes and cannot be extended here; ask for ",
                       *bytes, " or less"));
    }
    if (::ftruncate(fd_->get(), off_t(grow_to)) != 0) {
      return absl::ErrnoToStatus(errno,
                                 absl::StrCat(path_, ": cannot be made ", grow_to, " bytes large"));
    }
    bytes = file_size(fd_->get(), Freshness::kServer);
  }
  if (!bytes) return absl::ErrnoToStatus(errno, absl::StrCat(path_, ": its size is unknown"));
  const uint64_t now = *bytes / geometry_.block_size;
  const uint64_t before = blocks_.exchange(now, std::memory_order_relaxed);
  if (now == before) return SizeChange::kSame;
  return now > before ? SizeChange::kGrown : SizeChange::kShrunk;
}

void OpenFile::note_end(uint64_t bytes) {
  const uint64_t now = bytes / geometry_.block_size;
  uint64_t before = blocks_.load(std::memory_order_relaxed);
  while (now < before && !blocks_.compare_exchange_weak(before, now, std::memory_order_relaxed)) {
  }
}

absl::StatusOr<TransferThreads*> OpenFile::threads() {
  const std::lock_guard lock(starting_);
  if (threads_ == nullptr) {
    auto threads = TransferThreads::create();
    if (!threads.ok()) return threads.status();
    threads_ = *std::move(threads);
  }
  return threads_.get();
}

absl::StatusOr<std::unique_ptr<Channel>> FileChannel::open(std::shared_ptr<OpenFile> file,
                                                           Reactor& reactor) {
  std::unique_ptr<FileChannel> channel(new FileChannel(std::move(file), reactor));
  OpenFile& opened = *channel->file_;
  absl::StatusOr<std::shared_ptr<Ring>> ring = Ring::of(reactor);
  if (ring.ok()) {
    channel->ring_ = *std::move(ring);
    channel->slot_ = channel->ring_->add_file(opened.fd());
    return channel;
  }
  if (!absl::IsUnavailable(ring.status())) return ring.status();
  absl::StatusOr<TransferThreads*> threads = opened.threads();
  if (!threads.ok()) {
    return absl::ResourceExhaustedError(absl::StrCat("io_uring is refused (",
                                                     ring.status().message(), ") and there is ",
                                                     threads.status().message()));
  }
  channel->threads_ = *threads;
  report_fallback(opened.spec(), ring.status().message());
  return channel;
}

FileChannel::~FileChannel() {
  if (ring_ != nullptr) ring_->remove_file(slot_);
}

bool FileChannel::submit(Io& io) {
  io.error = check(file_->geometry(), io);
  io.progress = 0;
  io.owner = this;
  if (io.error != Error::kNone) return true;
  switch (io.op) {
    case Op::kRead:
    case Op::kWrite:
      if (io.length == 0) return true;
      if (refuse(io)) return true;
      outstanding_.add(io, reactor_.now());
      if (io.op == Op::kWrite && file_->sizes() != nullptr) {
        wait_for_look(io);
      } else {
        start(io);
      }
      return false;
    case Op::kFlush:
      if (file_->geometry().read_only) return true;
      [[fallthrough]];
    case Op::kWriteZeroes:
    case Op::kDeallocate:
      outstanding_.add(io, reactor_.now());
      file_->sync().submit(io, reactor_, &finished);
      return false;
    case Op::kHold:
      break;
  }
  io.error = Error::kUnsupported;
  return true;
}

// A write that would make a file longer again that others have cut.
bool FileChannel::refuse(Io& io) {
  if (io.op != Op::kWrite || !file_->can_be_extended() || file_->sizes() != nullptr) return false;
  if (io.offset + io.length <= end_now()) return false;
  file_->note_end(end_);
  io.error = Error::kOutOfRange;
  return true;
}

uint64_t FileChannel::end_now() {
  if (reactor_.now() != looked_) {
    looked_ = reactor_.now();
    end_ = file_size(file_->fd(), Freshness::kCached).value_or(~uint64_t{0});
  }
  return end_;
}

// The same where the size takes long to learn: by a look that begins later.
void FileChannel::wait_for_look(Io& io) {
  behind_next_.push(io);
  if (behind_look_.empty()) look();
}

void FileChannel::look() {
  for (Io* io = behind_next_.take(); io != nullptr;) {
    Io* const next = io->next;
    behind_look_.push(*io);
    io = next;
  }
  look_.owner = this;
  file_->sizes()->submit(look_, reactor_, &looked);
}

void FileChannel::looked(Io& look) {
  FileChannel& self = of(look);
  self.end_ = look.progress;
  Io* io = self.behind_look_.take();
  if (!self.behind_next_.empty()) self.look();
  // The last of them may be the end of the channel.
  while (io != nullptr) {
    Io* const next = io->next;
    if (io->offset + io->length > self.end_) {
      self.file_->note_end(self.end_);
      io->error = Error::kOutOfRange;
      finished(*io);
    } else {
      self.start(*io);
    }
    io = next;
  }
}

void FileChannel::finished(Io& io) {
  FileChannel& self = of(io);
  self.outstanding_.remove(io, self.reactor_.now());
  io.done(io);
}

// Reads or writes the rest of the request.
void FileChannel::start(Io& io) {
  new (io.scratch) Transfer{.fd = file_->fd(), .slot = slot_, .moved = &moved};
  if (threads_ != nullptr) return threads_->submit(io, reactor_);
  ring_->submit(io);
}

// The ring takes no requests any more.
void FileChannel::start_elsewhere(Io& io) {
  if (threads_ == nullptr) {
    absl::StatusOr<TransferThreads*> threads = file_->threads();
    base::log({.event = base::Event::kStoreFallback,
               .store = file_->spec(),
               .message = absl::StrCat(
                   file_->spec(), ": io_uring is refused from now on; reads and writes ",
                   threads.ok() ? "use threads" : std::string(threads.status().message()))});
    if (!threads.ok()) {
      io.error = Error::kNotReady;
      return finished(io);
    }
    threads_ = *threads;
  }
  start(io);
}

void FileChannel::transferred(Io& io, int64_t result) {
  if (result == Transfer::kNotTaken) return start_elsewhere(io);
  if (result == -EINTR || result == -EAGAIN) return start(io);
  if (result <= 0) {
    io.error = error_of(io, result);
    return finished(io);
  }
  io.progress += uint64_t(result);
  if (io.progress < io.length) return start(io);
  if (io.op == Op::kWrite && io.fua) return file_->sync().submit(io, reactor_, &finished);
  finished(io);
}

// Whether the request met the end of a file that others have cut.
bool FileChannel::met_end(const Io& io, int64_t result) const {
  const bool nothing_read = io.op == Op::kRead && result == 0;
  if (result != 0 && result != -ENOSPC) return false;
  // Where a look may take long, the last one counts; there was none before a read.
  const bool slow = file_->sizes() != nullptr;
  if (slow && io.op == Op::kRead) return nothing_read;
  const std::optional<uint64_t> bytes = slow ? end_ : file_size(file_->fd(), Freshness::kCached);
  if (!bytes || *bytes >= io.offset + io.length) return nothing_read;
  file_->note_end(*bytes);
  return true;
}

Error FileChannel::error_of(const Io& io, int64_t result) const {
  if (met_end(io, result)) return Error::kOutOfRange;
  return from_errno(result == 0 ? EIO : int(-result), io.op);
}

}  // namespace mrpool::storage
