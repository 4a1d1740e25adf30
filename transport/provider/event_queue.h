// Events that a program fetches through a file descriptor: completion channels, asynchronous
// events, connection events.
//
// The descriptor is an eventfd that counts the queued events: it is readable while there is one,
// works with poll, select and epoll, blocks in take() unless the program set O_NONBLOCK on it.
//
// Thread safety: push(), remove_if() and empty() under the engine's lock; wait() without it.
// Ownership: owns the descriptor.
#pragma once

#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <deque>
#include <optional>

namespace mrpool::provider {

// Takes one from the counter; 0, or -1 with errno (EAGAIN on a non-blocking descriptor).
inline int wait_for_event(int fd) {
  uint64_t one;
  return ::read(fd, &one, sizeof one) == sizeof one ? 0 : -1;
}

template <class Event>
class EventQueue {
 public:
  EventQueue() : fd_(::eventfd(0, EFD_SEMAPHORE | EFD_CLOEXEC)) {}
  ~EventQueue() {
    if (fd_ >= 0) ::close(fd_);
  }
  EventQueue(const EventQueue&) = delete;
  EventQueue& operator=(const EventQueue&) = delete;

  int fd() const { return fd_; }

  void push(const Event& event) {
    events_.push_back(event);
    ::eventfd_write(fd_, 1);
  }
  // After wait_for_event(fd()) returned 0. Empty when remove_if() took the event meanwhile.
  std::optional<Event> take() {
    if (events_.empty()) return std::nullopt;
    const Event event = events_.front();
    events_.pop_front();
    return event;
  }
  // Takes out the events for which `matches` holds and gives them to `sink`.
  template <class Matches, class Sink>
  void remove_if(const Matches& matches, const Sink& sink) {
    for (size_t i = 0; i < events_.size();) {
      if (!matches(events_[i])) {
        ++i;
        continue;
      }
      const Event event = events_[i];
      events_.erase(events_.begin() + static_cast<std::ptrdiff_t>(i));
      uncount();
      sink(event);
    }
  }

 private:
  void uncount() {
    const int flags = ::fcntl(fd_, F_GETFL);
    ::fcntl(fd_, F_SETFL, flags | O_NONBLOCK);
    wait_for_event(fd_);
    ::fcntl(fd_, F_SETFL, flags);
  }

  std::deque<Event> events_;
  const int fd_;
};

}  // namespace mrpool::provider
