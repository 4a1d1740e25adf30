// One reactor's way to a file: its requests through the reactor's ring, or through threads.
//
// Thread safety: the reactor's thread. Ownership: a channel holds its file open.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>

#include "absl/strings/string_view.h"
#include "examples/storage/claim.h"
#include "examples/storage/descriptor.h"
#include "examples/storage/outstanding.h"
#include "examples/storage/ring.h"
#include "examples/storage/size_thread.h"
#include "examples/storage/storage.h"
#include "examples/storage/sync_thread.h"
#include "examples/storage/transfer_threads.h"

namespace mrpool::storage {

// An open file or block device with what its channels share. Any thread.
class OpenFile {
 public:
  // Takes over a file that is claimed and, if it is a regular one, locked. Throws std::system_error
  // when there is no thread to be had.
  OpenFile(std::string spec, std::string path, std::shared_ptr<const Descriptor> fd, bool regular,
           std::shared_ptr<const Claim> claim, const Geometry& geometry);
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;

  Geometry geometry() const {
    Geometry geometry = geometry_;
    geometry.blocks = blocks_.load(std::memory_order_relaxed);  // a number by itself
    return geometry;
  }
  const std::string& spec() const { return spec_; }
  const StoreIdentity& identity() const { return claim_->identity; }
  absl::Status still_there() const;
  absl::StatusOr<SizeChange> refresh(uint64_t grow_to);
  // A request has met the end there: the file has no more bytes. For geometry(), at once.
  void note_end(uint64_t bytes);

  int fd() const { return fd_->get(); }
  // A write beyond the end would make the file longer.
  bool can_be_extended() const { return regular_; }
  SyncThread& sync() { return sync_; }
  // Who looks at the size where that may take long; null: nobody has to.
  SizeThread* sizes() { return sizes_.get(); }
  // Ends a file that nobody uses any more, elsewhere: write-back may make the end take long.
  static void end(OpenFile* file);
  // Threads for reads and writes, started when first asked for.
  absl::StatusOr<TransferThreads*> threads();

 private:
  const std::string spec_;
  const std::string path_;
  const std::shared_ptr<const Claim> claim_;  // given up last
  const std::shared_ptr<const Descriptor> fd_;
  const bool regular_;
  const Geometry geometry_;
  std::atomic<uint64_t> blocks_;
  std::mutex refreshing_;
  SyncThread sync_;
  const std::unique_ptr<SizeThread> sizes_;
  std::mutex starting_;
  std::unique_ptr<TransferThreads> threads_;
};

// Writes a line that files do without io_uring and why; one line for a cause.
void report_fallback(const std::string& spec, absl::string_view cause);

class FileChannel final : public Channel {
 public:
  // Without a ring where io_uring is refused; ResourceExhausted when there are no threads either.
  static absl::StatusOr<std::unique_ptr<Channel>> open(std::shared_ptr<OpenFile> file,
                                                       Reactor& reactor);
  ~FileChannel() override;

  bool submit(Io& io) override;
  void release(Io&) override {}
  uint32_t pending() const override { return outstanding_.count(); }
  Nanoseconds oldest_age(Nanoseconds now) const override { return outstanding_.oldest_age(now); }
  Trouble take_trouble() override { return outstanding_.take_trouble(); }

 private:
  FileChannel(std::shared_ptr<OpenFile> file, Reactor& reactor)
      : file_(std::move(file)), reactor_(reactor) {}
  static FileChannel& of(Io& io) { return *static_cast<FileChannel*>(io.owner); }
  static void moved(Io& io, int64_t result) { of(io).transferred(io, result); }
  static void finished(Io& io);

  static void looked(Io& look);

  bool refuse(Io& io);
  void wait_for_look(Io& io);
  void look();
  void start(Io& io);
  void start_elsewhere(Io& io);
  void transferred(Io& io, int64_t result);
  Error error_of(const Io& io, int64_t result) const;
  uint64_t end_now();
  bool met_end(const Io& io, int64_t result) const;

  const std::shared_ptr<OpenFile> file_;
  Reactor& reactor_;
  std::shared_ptr<Ring> ring_;  // null: threads_
  int slot_ = -1;
  TransferThreads* threads_ = nullptr;
  Outstanding outstanding_;
  // The end of the file as it was in the round of `looked_`, or at the last look of the thread.
  Nanoseconds looked_{-1};
  uint64_t end_ = 0;
  // The thread's look, and the writes that wait for it and for the one after it.
  Io look_{&looked};
  IoList behind_look_;
  IoList behind_next_;
};

}  // namespace mrpool::storage
