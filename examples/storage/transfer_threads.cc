#include "examples/storage/transfer_threads.h"

#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <new>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "examples/base/block_signals.h"
#include "examples/storage/transfer.h"
#include "mrpool/callback.h"

namespace mrpool::storage {
namespace {

int64_t move_some(const Io& io, int fd) {
  const Segment segment = next_segment(io);
  const auto at = off_t(io.offset + io.progress);
  while (true) {
    ssize_t n = 0;
    if (!segment.list.empty()) {
      const auto count = int(segment.list.size());
      n = io.op == Op::kRead ? ::preadv(fd, segment.list.data(), count, at)
                             : ::pwritev(fd, segment.list.data(), count, at);
    } else {
      n = io.op == Op::kRead ? ::pread(fd, segment.memory, segment.length, at)
                             : ::pwrite(fd, segment.memory, segment.length, at);
    }
    if (n >= 0) return n;
    if (errno != EINTR) return -errno;
  }
}

}  // namespace

// Takes the place of the Transfer in the request's scratch space.
struct TransferThreads::Job : HelperJob {
  Job(Io& request, Reactor& home, const Transfer& what)
      : HelperJob(request, home, to_method<&Job::finish>), transfer(what) {}
  // The copy goes on: the Transfer takes this object's place.
  void finish() { Job(*this).put_back(); }
  void put_back() const { (new (io->scratch) Transfer(transfer))->moved(*io, result); }
  Job(const Job& other)
      : HelperJob(*other.io, *other.reactor, other.run),
        transfer(other.transfer),
        result(other.result) {}
  Transfer transfer;
  int64_t result = 0;
};

absl::StatusOr<std::unique_ptr<TransferThreads>> TransferThreads::create() {
  std::unique_ptr<TransferThreads> self(new TransferThreads);
  self->threads_.reserve(kCount);
  try {
    while (self->threads_.size() < kCount) {
      self->threads_.emplace_back([raw = self.get()] { raw->run(); });
    }
  } catch (const std::system_error& error) {
    if (self->threads_.empty()) {
      return absl::ResourceExhaustedError(
          absl::StrCat("no thread could be started (raise `ulimit -u`): ", error.what()));
    }
  }
  return self;
}

TransferThreads::~TransferThreads() { queue_.stop(); }

void TransferThreads::submit(Io& io, Reactor& reactor) {
  static_assert(sizeof(Job) <= sizeof io.scratch);
  const Transfer transfer = Transfer::of(io);
  new (io.scratch) Job(io, reactor, transfer);
  queue_.push(io);
}

void TransferThreads::run() {
  base::block_signals();
  while (Io* io = queue_.pop()) {
    Job& job = *std::launder(reinterpret_cast<Job*>(io->scratch));
    job.result = move_some(*io, job.transfer.fd);
    job.reactor->post(job);
  }
}

}  // namespace mrpool::storage
