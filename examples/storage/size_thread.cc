#include "examples/storage/size_thread.h"

#include <new>

#include "examples/base/block_signals.h"
#include "examples/storage/file_size.h"
#include "mrpool/callback.h"

namespace mrpool::storage {
namespace {

// Lives in the look's scratch space while the thread has it.
struct Look : HelperJob {
  Look(Io& request, Reactor& home, Finished done)
      : HelperJob(request, home, to_method<&Look::finish>), finished(done) {}
  void finish() { finished(*io); }
  Finished finished;
};

}  // namespace

SizeThread::SizeThread(int fd) : fd_(fd), thread_([this] { run(); }) {}

SizeThread::~SizeThread() { queue_.stop(); }

void SizeThread::submit(Io& look, Reactor& reactor, HelperJob::Finished finished) {
  static_assert(sizeof(Look) <= sizeof look.scratch);
  new (look.scratch) Look(look, reactor, finished);
  queue_.push(look);
}

void SizeThread::run() {
  base::block_signals();
  while (Io* io = queue_.take()) {
    const uint64_t bytes = file_size(fd_, Freshness::kCached).value_or(~uint64_t{0});
    while (io != nullptr) {
      Io* const next = io->next;  // the look may be gone once its task is posted
      io->progress = bytes;
      Look& look = *std::launder(reinterpret_cast<Look*>(io->scratch));
      look.reactor->post(look);
      io = next;
    }
  }
}

}  // namespace mrpool::storage
