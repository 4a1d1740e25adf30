#include "examples/storage/ring.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <boost/asio/execution_context.hpp>
#include <boost/asio/io_context.hpp>
#include <cerrno>
#include <cstring>
#include <exception>
#include <mutex>

#include "absl/strings/str_cat.h"
#include "examples/storage/transfer.h"

namespace mrpool::storage {
namespace {

namespace asio = boost::asio;

// Where an io_context keeps its reactor's ring, if it has one.
class RingService final : public asio::execution_context::service {
 public:
  using key_type = RingService;
  inline static asio::execution_context::id id;
  explicit RingService(asio::execution_context& context) : service(context) {}
  std::weak_ptr<Ring> ring;

 private:
  void shutdown() override {}
};

absl::Status refused(int error) {
  const char* fix = "";
  if (error == EPERM || error == EACCES || error == ENOSYS) {
    fix =
        " (in a container its seccomp profile has to allow io_uring_setup, io_uring_enter and "
        "io_uring_register)";
  } else if (error == EMFILE || error == ENFILE) {
    fix = " (raise `ulimit -n`)";
  } else if (error == ENOMEM) {
    fix = " (raise `ulimit -l`)";
  }
  return absl::UnavailableError(absl::StrCat(std::strerror(error), fix));
}

}  // namespace

Ring::Ring(Reactor& reactor) : reactor_(reactor), event_(*reactor.io_context()) {}

Ring::~Ring() {
  if (polled_) reactor_.remove_poller(*this);
  if (opened_) io_uring_queue_exit(&ring_);
}

absl::StatusOr<std::shared_ptr<Ring>> Ring::of(Reactor& reactor) {
  if (reactor.io_context() == nullptr) {
    return absl::FailedPreconditionError("a file volume needs a reactor on Asio");
  }
  try {
    RingService& service = asio::use_service<RingService>(*reactor.io_context());
    if (std::shared_ptr<Ring> ring = service.ring.lock(); ring != nullptr && !ring->broken()) {
      return ring;
    }
    auto ring = std::make_shared<Ring>(reactor);
    if (absl::Status status = ring->open(); !status.ok()) return status;
    service.ring = ring;
    return ring;
  } catch (const std::exception& error) {
    return absl::UnavailableError(error.what());
  }
}

absl::Status Ring::probe() {
  io_uring ring;
  if (const int error = io_uring_queue_init(1, &ring, 0); error != 0) return refused(-error);
  io_uring_queue_exit(&ring);
  return absl::OkStatus();
}

absl::Status Ring::open() {
  io_uring_params params{};
  params.flags = IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;
  params.cq_entries = kDepth;
  if (const int error = io_uring_queue_init_params(kEntries, &ring_, &params); error != 0) {
    return refused(-error);
  }
  opened_ = true;
  const int fd = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (fd < 0) return refused(errno);
  boost::system::error_code failed;
  event_.assign(fd, failed);
  if (failed) {
    ::close(fd);
    return refused(failed.value());
  }
  if (const int error = io_uring_register_eventfd(&ring_, fd); error != 0) return refused(-error);
  io_uring_cq_eventfd_toggle(&ring_, false);  // a kernel without it signals more often than needed
  has_slots_ = io_uring_register_files_sparse(&ring_, kFiles) == 0;
  watch();
  reactor_.add_poller(*this);
  polled_ = true;
  return absl::OkStatus();
}

void Ring::watch() {
  // Weak: the event may be on its way to a handler when the last channel goes.
  event_.async_wait(asio::posix::stream_descriptor::wait_read,
                    [weak = weak_from_this()](boost::system::error_code failed) {
                      const std::shared_ptr<Ring> ring = weak.lock();
                      if (failed || ring == nullptr) return;
                      uint64_t count;
                      [[maybe_unused]] const ssize_t n =
                          ::read(ring->event_.native_handle(), &count, sizeof count);
                      ring->watch();
                    });
}

int Ring::add_file(int fd) {
  const int slot = std::countr_one(slots_);
  if (!has_slots_ || slot >= int(kFiles)) return -1;
  if (io_uring_register_files_update(&ring_, unsigned(slot), &fd, 1) != 1) return -1;
  slots_ |= uint64_t{1} << slot;
  return slot;
}

void Ring::remove_file(int slot) {
  if (slot < 0) return;
  int none = -1;
  // Refused: the place stays taken, since the kernel may still have the file there.
  if (io_uring_register_files_update(&ring_, unsigned(slot), &none, 1) != 1) return;
  slots_ &= ~(uint64_t{1} << slot);
}

bool Ring::poll() {
  if (armed_) {
    armed_ = false;
    io_uring_cq_eventfd_toggle(&ring_, false);
  }
  if (in_flight_ == 0 && queued_count_ == 0) return false;
  // The end of a request may be that of the last channel.
  const std::shared_ptr<Ring> alive = shared_from_this();
  size_t work = reap();
  if (flush() > 0) {
    ++work;
    reap();  // reads from the page cache finish while they are submitted
  }
  return work > 0;
}

bool Ring::arm() {
  if (in_flight_ == 0 && queued_count_ == 0) return true;
  if (!armed_) {
    armed_ = true;
    io_uring_cq_eventfd_toggle(&ring_, true);
  }
  // A completion from before the switch made no event: look once more, after it.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return queued_count_ == 0 && io_uring_sq_ready(&ring_) == 0 && io_uring_cq_ready(&ring_) == 0;
}

size_t Ring::reap() {
  struct Done {
    Io* io;
    int result;
  };
  constexpr unsigned kBatch = 64;
  std::array<io_uring_cqe*, kBatch> entries;
  std::array<Done, kBatch> done;
  const unsigned n = io_uring_peek_batch_cqe(&ring_, entries.data(), kBatch);
  for (unsigned i = 0; i < n; ++i) {
    done[i] = {reinterpret_cast<Io*>(uintptr_t(entries[i]->user_data)), entries[i]->res};
  }
  io_uring_cq_advance(&ring_, n);
  in_flight_ -= n;
  for (unsigned i = 0; i < n; ++i) Transfer::of(*done[i].io).moved(*done[i].io, done[i].result);
  return n;
}

// Prepares what is queued as far as there is room.
void Ring::fill() {
  while (queued_count_ > 0 && in_flight_ < kDepth) {
    io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
    if (sqe == nullptr) return;
    Io& io = *queued_.pop();
    --queued_count_;
    ++in_flight_;
    const Transfer& transfer = Transfer::of(io);
    const Segment segment = next_segment(io);
    const int fd = transfer.slot >= 0 ? transfer.slot : transfer.fd;
    const uint64_t at = io.offset + io.progress;
    if (!segment.list.empty()) {
      const auto count = unsigned(segment.list.size());
      if (io.op == Op::kRead) {
        io_uring_prep_readv(sqe, fd, segment.list.data(), count, at);
      } else {
        io_uring_prep_writev(sqe, fd, segment.list.data(), count, at);
      }
    } else if (io.op == Op::kRead) {
      io_uring_prep_read(sqe, fd, segment.memory, unsigned(segment.length), at);
    } else {
      io_uring_prep_write(sqe, fd, segment.memory, unsigned(segment.length), at);
    }
    if (transfer.slot >= 0) sqe->flags |= IOSQE_FIXED_FILE;
    sqe->user_data = uintptr_t(&io);
  }
}

// Hands over what is queued; returns how many the kernel took.
size_t Ring::flush() {
  if (broken_) {
    refuse_all();
    return 1;
  }
  fill();
  if (io_uring_sq_ready(&ring_) == 0) return 0;
  const int taken = io_uring_submit(&ring_);
  if (taken >= 0) return size_t(taken);
  if (taken == -EINTR || taken == -EAGAIN || taken == -EBUSY || taken == -ENOMEM) return 0;
  broken_ = true;  // the kernel will take nothing more
  refuse_all();
  return 1;
}

// Gives back what the kernel has not taken; what it has taken it still completes.
void Ring::refuse_all() {
  IoList back;
  const unsigned tail = ring_.sq.sqe_tail;
  for (unsigned i = *ring_.sq.khead; i != tail; ++i) {
    const io_uring_sqe& sqe = ring_.sq.sqes[i & *ring_.sq.kring_mask];
    back.push(*reinterpret_cast<Io*>(uintptr_t(sqe.user_data)));
    --in_flight_;
  }
  ring_.sq.sqe_tail = ring_.sq.sqe_head = *ring_.sq.khead;
  while (queued_count_ > 0) {
    back.push(*queued_.pop());
    --queued_count_;
  }
  while (Io* io = back.pop()) Transfer::of(*io).moved(*io, Transfer::kNotTaken);
}

}  // namespace mrpool::storage
