#include "transport/uiwarp/edge_set.h"

#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <cerrno>
#include <utility>

namespace mrpool::uiwarp {

namespace {
// How long the set may go unasked, as AsioReactor's own periods (transport/reactor).
constexpr Nanoseconds kPeriodWhenIdle = std::chrono::microseconds(3);
constexpr Nanoseconds kPeriodWhenBusy = std::chrono::microseconds(20);
// Rounds in a row that ask in vain before the periods count again.
constexpr uint32_t kAsksBusy = 8;
// Asks without a sleep until Asio gives the set back.
constexpr uint32_t kAsksWatched = 256;
// EPOLLOUT costs nothing: the kernel reports it after a send that found no room, else with other
// events only.
constexpr uint32_t kEdges = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
}  // namespace

boost::asio::execution_context::id EdgeSet::id;

EdgeSet& EdgeSet::of(Reactor& reactor) {
  auto& set = boost::asio::use_service<EdgeSet>(*reactor.io_context());
  if (set.reactor_ == nullptr) {
    set.reactor_ = &reactor;
    reactor.add_poller(set);
  }
  return set;
}

EdgeSet::~EdgeSet() {
  if (fd_ >= 0) ::close(fd_);
}

// Before the io_context's own parts end.
void EdgeSet::shutdown() { unwatch(); }

int EdgeSet::open() {
  if (fd_ < 0) fd_ = ::epoll_create1(EPOLL_CLOEXEC);
  return fd_ < 0 ? errno : 0;
}

bool EdgeSet::join(int fd, Member& member) {
  if (open() != 0) return false;
  wake();
  epoll_event event{};
  event.events = kEdges;
  event.data.ptr = &member;
  if (::epoll_ctl(fd_, EPOLL_CTL_ADD, fd, &event) != 0) return false;
  ++members_;
  return true;
}

void EdgeSet::leave(int fd, Member& member) {
  // Not left to close(): a child process between fork and exec has the socket, too.
  epoll_event unused{};
  ::epoll_ctl(fd_, EPOLL_CTL_DEL, fd, &unused);
  --members_;
  for (int i = at_ + 1; i < count_; ++i) {
    if (events_[size_t(i)].data.ptr == &member) events_[size_t(i)].data.ptr = nullptr;
  }
}

// Work came from outside the rounds, or from a poller that was armed later than this one.
void EdgeSet::wake() {
  if (std::exchange(armed_, false) && wake_up_.next == nullptr) reactor_->post(wake_up_);
}

bool EdgeSet::poll() {
  armed_ = false;
  bool worked = false;
  if (!due_.empty()) {
    List<Member, &Member::due_node> due;  // what is added meanwhile belongs to the next round
    due.take(due_);
    while (Member* const member = due.pop_front()) worked |= member->on_edge(0);
  }
  if (members_ > 0 && time_to_ask()) worked |= ask();
  return worked;
}

bool EdgeSet::time_to_ask() {
  const bool touched = std::exchange(touched_, false);
  const Nanoseconds now = reactor_->now();
  if (!woken_ && busy_ == 0 && now - asked_ < (touched ? kPeriodWhenBusy : kPeriodWhenIdle)) {
    return false;
  }
  woken_ = false;
  asked_ = now;
  return true;
}

bool EdgeSet::ask() {
  // Fewer than there are stay for the next round, which asks again.
  if (asio_ && ++asks_ > kAsksWatched) unwatch();
  count_ = ::epoll_wait(fd_, events_.data(), kEvents, 0);
  bool found = false;
  for (at_ = 0; at_ < count_; ++at_) {
    const epoll_event& event = events_[size_t(at_)];
    if (event.data.ptr == nullptr) continue;  // it left meanwhile
    found |= static_cast<Member*>(event.data.ptr)->on_edge(event.events);
  }
  at_ = count_ = 0;
  if (found) {
    busy_ = kAsksBusy;
  } else if (busy_ > 0) {
    --busy_;
  }
  return found;
}

bool EdgeSet::arm() {
  if (!due_.empty()) return false;
  asks_ = 0;
  armed_ = true;
  if (members_ == 0 || waiting_) return true;
  if (!watch()) return false;
  waiting_ = true;
  asio_->async_wait(boost::asio::posix::stream_descriptor::wait_read,
                    [this](boost::system::error_code) {
                      waiting_ = false;
                      woken_ = true;
                    });
  return true;
}

bool EdgeSet::watch() {
  if (asio_) return true;
  asio_.emplace(static_cast<boost::asio::io_context&>(context()));
  boost::system::error_code failed;
  asio_->assign(fd_, failed);
  if (failed) asio_.reset();
  return !failed;
}

void EdgeSet::unwatch() {
  if (!asio_) return;
  [[maybe_unused]] const int fd = asio_->release();  // which stays open
  asio_.reset();
}

}  // namespace mrpool::uiwarp
