// The one io_uring of a reactor: every file channel of that reactor reads and writes through it.
//
// Requests are collected during a round of the reactor and handed to the kernel together by the
// ring's poller; completions are read from the shared memory of the ring. Before the reactor sleeps
// the ring's eventfd is switched on, which Asio watches. So a thread needs two descriptors for all
// of its files, and none of its rounds makes a system call without requests.
//
// Limits: kDepth requests are with the kernel at once; more wait in order.
// Errors: where io_uring is refused, of() returns the reason and the caller works without it.
// Should the kernel
// refuse later (a filter that is installed late), requests come back with Transfer::kNotTaken and
// broken() is true from then on.
// Thread safety: the reactor's thread. Ownership: shared by the channels; it ends with the last.
#pragma once

#include <liburing.h>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <memory>

#include "examples/storage/io_util.h"
#include "examples/storage/storage.h"
#include "mrpool/reactor.h"

namespace mrpool::storage {

class Ring final : public std::enable_shared_from_this<Ring>, private Poller {
 public:
  // The reactor's ring, made when there is none. FailedPrecondition: not a reactor on Asio;
  // Unavailable: the kernel refuses, the message holds the cause.
  static absl::StatusOr<std::shared_ptr<Ring>> of(Reactor& reactor);
  // Whether this process may have an io_uring at all; the error names the cause.
  static absl::Status probe();

  explicit Ring(Reactor& reactor);
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;
  ~Ring();

  // Registers the file with the kernel, which saves a look-up for each request. Negative: no place;
  // requests then name the descriptor.
  int add_file(int fd);
  void remove_file(int slot);

  // A kRead or kWrite whose Transfer is in place. Transfer::moved follows, never from inside.
  void submit(Io& io) {
    queued_.push(io);
    ++queued_count_;
  }
  bool broken() const { return broken_; }

 private:
  static constexpr unsigned kEntries = 256;  // handed over by one system call
  static constexpr unsigned kDepth = 4096;
  static constexpr unsigned kFiles = 64;

  absl::Status open();
  void watch();
  bool poll() override;
  bool arm() override;
  size_t reap();
  size_t flush();
  void fill();
  void refuse_all();

  Reactor& reactor_;
  io_uring ring_{};
  boost::asio::posix::stream_descriptor event_;
  bool opened_ = false;
  bool polled_ = false;  // is among the reactor's pollers
  bool armed_ = false;
  bool broken_ = false;
  uint64_t slots_ = 0;      // registered files in use
  bool has_slots_ = false;  // the kernel has a table for them
  unsigned in_flight_ = 0;  // prepared or with the kernel
  size_t queued_count_ = 0;
  IoList queued_;
};

}  // namespace mrpool::storage
