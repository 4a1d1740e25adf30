// The Reactor of a real machine: Asio on epoll, its files on io_uring.
//
// A round asks, in this order: tasks from other threads, pollers, timers, Asio. The first three are
// a few loads each; entering Asio costs a system call, so it is put off while pollers find work,
// but never longer than kAsioBusyPeriod. How long it polls without finding work before it sleeps is
// ReactorOptions::spin (mrpool/reactor.h); the daemons' default is in examples/engine/limits.h.
//
// Thread safety: as Reactor. Ownership: owns its io_context; handlers still queued there are
// destroyed with it.
#pragma once

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <thread>
#include <vector>

#include "mrpool/reactor.h"
#include "transport/reactor/task_queue.h"
#include "transport/reactor/timer_heap.h"

namespace mrpool {

class AsioReactor final : public Reactor {
 public:
  // Throws boost::system::system_error where the io_context cannot be made.
  explicit AsioReactor(const ReactorOptions& options);
  ~AsioReactor() override;
  // Second half of the construction; nothing else may be called before or when it fails.
  absl::Status open();

  void run() override;
  void stop() override;
  size_t poll() override;
  bool arm() override;
  int fd() override;
  void post(Task& task) override;
  bool cancel(Task& task) override;
  void add_poller(Poller& poller) override;
  void remove_poller(Poller& poller) override;
  Nanoseconds now() const override;
  bool in_thread() const override;
  boost::asio::io_context* io_context() override { return &io_; }

 private:
  using Descriptor = boost::asio::posix::stream_descriptor;

  void arm_timer(Timer& timer) override;
  void cancel_timer(Timer& timer) override;

  void begin_round();
  size_t run_tasks();
  size_t run_pollers();
  size_t run_timers();
  size_t run_asio(bool idle);
  size_t run_handlers();
  void sleep();
  void set_alarm(Nanoseconds deadline);
  // Makes `fd`, an eventfd or a timerfd, a reason to leave the kernel, from now on.
  absl::Status adopt(Descriptor& descriptor, int fd, const char* what);
  void wake_on(Descriptor& descriptor);
  void check_thread(const char* call) const;

  const ReactorOptions options_;
  // One thread runs it (hint 1), but others may post to it: its locks stay on.
  boost::asio::io_context io_{1};
  Descriptor event_{io_};  // posts and stop() while the loop sleeps
  Descriptor timer_{io_};  // the earliest timer while the loop sleeps
  int epoll_fd_ = -1;      // found at the first fd()

  TaskQueue tasks_;
  Task* batch_ = TaskQueue::empty_list();  // of this round, still to run
  std::vector<Poller*> pollers_;           // null where one was removed during the round
  bool pollers_changed_ = false;
  TimerHeap timers_;
  Nanoseconds programmed_ = Nanoseconds::max();  // what timer_ is set to

  // The clock of the round, read when first asked for; zero: not yet.
  mutable Nanoseconds now_{};
  bool in_round_ = false;
  bool in_timers_ = false;
  bool armed_ = false;  // a foreign loop sleeps on fd(), or is about to
  Nanoseconds last_asio_{};

  std::atomic<bool> stop_{false};
  std::atomic<std::thread::id> thread_{std::this_thread::get_id()};
};

}  // namespace mrpool
