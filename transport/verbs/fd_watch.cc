#include "transport/verbs/fd_watch.h"

#include <fcntl.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <cerrno>

#include "absl/strings/str_cat.h"

namespace mrpool::verbs {

struct FdWatch::State : std::enable_shared_from_this<FdWatch::State> {
  State(boost::asio::io_context& io, FdEvents& events) : descriptor(io), owner(&events) {}

  void wait() {
    descriptor.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                          [self = shared_from_this()](boost::system::error_code ec) {
                            // Armed first: what arrives while the owner reads must not be missed.
                            if (ec || self->owner == nullptr) return;
                            self->wait();
                            self->owner->on_readable();
                          });
  }

  boost::asio::posix::stream_descriptor descriptor;
  FdEvents* owner;
};

FdWatch::FdWatch() = default;

FdWatch::~FdWatch() {
  if (state_ == nullptr) return;
  state_->owner = nullptr;
  state_->descriptor.release();  // cancels the wait; the descriptor stays open
}

absl::Status FdWatch::start(Reactor& reactor, int fd, FdEvents& events) {
  boost::asio::io_context* io = reactor.io_context();
  if (io == nullptr) {
    return absl::FailedPreconditionError(
        "this reactor cannot watch descriptors; verbs needs it to");
  }
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0 || ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) {
    return absl::ErrnoToStatus(errno, "cannot make an event channel non-blocking");
  }
  auto state = std::make_shared<State>(*io, events);
  boost::system::error_code ec;
  state->descriptor.assign(fd, ec);
  if (ec) return absl::InternalError(absl::StrCat("cannot watch a channel: ", ec.message()));
  state_ = std::move(state);
  state_->wait();
  return absl::OkStatus();
}

}  // namespace mrpool::verbs
