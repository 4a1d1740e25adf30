#include "transport/reactor/asio_reactor.h"

#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "mrpool/internal/report.h"
#include "transport/reactor/epoll_fd.h"

namespace mrpool {
namespace {

// How long Asio's descriptors may go unasked; for how long a reactor polls is ReactorOptions::spin.
// An empty round costs about 0.3 µs and entering Asio as much again. uiwarp's connections are in a
// set of their own, which is asked more often (uiwarp/edge_set.h). Both together take an eighth of
// an idle loop and a thirtieth of a busy one.
constexpr Nanoseconds kAsioPeriodWhenIdle = std::chrono::microseconds(6);
constexpr Nanoseconds kAsioPeriodWhenBusy = std::chrono::microseconds(20);
// Handlers of one round. A coroutine that yields by posting itself makes io_context::poll()
// endless, and everything that is polled would stand still.
constexpr size_t kMaxHandlers = 256;

Nanoseconds clock_now() {
  return std::chrono::duration_cast<Nanoseconds>(
      std::chrono::steady_clock::now().time_since_epoch());
}

[[noreturn]] void die(const char* message) { internal::fatal(absl::StrCat("Reactor::", message)); }

}  // namespace

AsioReactor::AsioReactor(const ReactorOptions& options) : options_(options) {}

// No loop runs any more. Objects that queued tasks own end here, with their timers and pollers.
AsioReactor::~AsioReactor() {
  thread_.store(std::this_thread::get_id(), std::memory_order_relaxed);
  tasks_.discard();
}

absl::Status AsioReactor::open() {
  if (absl::Status status = adopt(event_, ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), "eventfd");
      !status.ok()) {
    return status;
  }
  return adopt(timer_, ::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC), "timerfd");
}

absl::Status AsioReactor::adopt(Descriptor& descriptor, int fd, const char* what) {
  if (fd < 0) return absl::ErrnoToStatus(errno, absl::StrCat("no ", what, " for a reactor"));
  boost::system::error_code ec;
  descriptor.assign(fd, ec);
  if (ec) {
    ::close(fd);
    return absl::InternalError(absl::StrCat("Asio refuses an ", what, ": ", ec.message()));
  }
  wake_on(descriptor);
  return absl::OkStatus();
}

void AsioReactor::wake_on(Descriptor& descriptor) {
  descriptor.async_wait(Descriptor::wait_read, [this, &descriptor](boost::system::error_code ec) {
    if (ec) return;
    // Both kinds hold a counter. It must be read, or each later wait would end at once.
    uint64_t count;
    [[maybe_unused]] const ssize_t n = ::read(descriptor.native_handle(), &count, sizeof count);
    if (&descriptor == &timer_) programmed_ = Nanoseconds::max();
    wake_on(descriptor);
  });
}

void AsioReactor::check_thread(const char* call) const {
  if (in_thread()) [[likely]]
    return;
  internal::misuse(call, "Reactor", this, "was called from a thread that does not run the loop");
}

bool AsioReactor::in_thread() const {
  return thread_.load(std::memory_order_relaxed) == std::this_thread::get_id();
}

Nanoseconds AsioReactor::now() const {
  if (!in_round_) return clock_now();
  if (now_ == Nanoseconds::zero()) now_ = clock_now();
  return now_;
}

void AsioReactor::begin_round() {
  if (in_round_) die("poll, run: called from inside a callback of the same reactor");
  // The loop belongs to the thread that drives it. That is nearly always the same one, so read
  // before writing.
  if (!in_thread()) thread_.store(std::this_thread::get_id(), std::memory_order_relaxed);
  in_round_ = true;
  armed_ = false;
  now_ = Nanoseconds::zero();
}

size_t AsioReactor::poll() {
  begin_round();
  size_t found = run_tasks() + run_pollers() + run_timers();
  found += run_asio(found == 0);
  in_round_ = false;
  return found;
}

size_t AsioReactor::run_tasks() {
  size_t count = 0;
  batch_ = tasks_.take();
  // The task may be posted again, or be gone, once it ran.
  for (; Task* const task = TaskQueue::pop(batch_); ++count) task->run(*task);
  return count;
}

size_t AsioReactor::run_pollers() {
  size_t count = 0;
  // By index: a poller may add and remove others, itself included.
  for (size_t i = 0; i < pollers_.size(); ++i) {
    if (pollers_[i] != nullptr && pollers_[i]->poll()) ++count;
  }
  if (pollers_changed_) {
    std::erase(pollers_, nullptr);
    pollers_changed_ = false;
  }
  return count;
}

size_t AsioReactor::run_timers() {
  if (timers_.empty()) return 0;
  size_t count = 0;
  const Nanoseconds due = now();
  in_timers_ = true;
  while (Timer* timer = timers_.take_due(due)) {
    timer->expire();
    ++count;
  }
  in_timers_ = false;
  return count;
}

size_t AsioReactor::run_asio(bool idle) {
  const Nanoseconds time = now();
  if (time - last_asio_ < (idle ? kAsioPeriodWhenIdle : kAsioPeriodWhenBusy)) return 0;
  last_asio_ = time;
  const size_t count = run_handlers();
  if (count == 0 && io_.stopped()) io_.restart();  // somebody's io_context::stop; ours is stop()
  return count;
}

size_t AsioReactor::run_handlers() {
  size_t count = 0;
  while (count < kMaxHandlers && io_.poll_one() != 0) ++count;
  return count;
}

bool AsioReactor::arm() {
  begin_round();
  // What the period kept from being asked, and what handlers queued among themselves.
  bool quiet = run_handlers() == 0;
  last_asio_ = now();
  for (size_t i = 0; quiet && i < pollers_.size(); ++i) quiet = pollers_[i]->arm();
  if (pollers_changed_) std::erase(pollers_, nullptr);
  pollers_changed_ = false;
  if (quiet && !timers_.empty()) {
    quiet = timers_.earliest() > now();
    if (quiet) set_alarm(timers_.earliest());
  }
  in_round_ = false;
  armed_ = quiet && tasks_.sleep();
  return armed_;
}

void AsioReactor::set_alarm(Nanoseconds deadline) {
  // An earlier setting stays: one wake-up too many is cheaper than setting it at every sleep.
  if (deadline >= programmed_) return;
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(deadline);
  itimerspec when{};
  when.it_value.tv_sec = seconds.count();
  when.it_value.tv_nsec = (deadline - seconds).count();
  if (::timerfd_settime(timer_.native_handle(), TFD_TIMER_ABSTIME, &when, nullptr) != 0) {
    die("arm: timerfd_settime failed");
  }
  programmed_ = deadline;
}

void AsioReactor::sleep() {
  // The handler that ends the sleep runs in here and reads the clock after it.
  begin_round();
  if (io_.run_one() == 0) io_.restart();
  in_round_ = false;
}

void AsioReactor::run() {
  Nanoseconds busy = clock_now();
  while (!stop_.load(std::memory_order_acquire)) {
    if (poll() > 0) {
      busy = now_;
      continue;
    }
    if (now_ - busy < options_.spin) continue;
    if (arm()) sleep();
    busy = clock_now();
  }
  stop_.store(false, std::memory_order_relaxed);
}

void AsioReactor::stop() {
  stop_.store(true, std::memory_order_release);
  // Not through the queue: this may be a signal handler, or the second stop in a row.
  ::eventfd_write(event_.native_handle(), 1);
}

void AsioReactor::post(Task& task) {
  if (tasks_.push(task)) ::eventfd_write(event_.native_handle(), 1);
}

bool AsioReactor::cancel(Task& task) {
  check_thread("Reactor::cancel");
  return TaskQueue::unlink(batch_, task) || tasks_.remove(task);
}

int AsioReactor::fd() {
  if (epoll_fd_ < 0) {
    const int watched[] = {event_.native_handle(), timer_.native_handle()};
    epoll_fd_ = find_epoll_fd(watched);
  }
  return epoll_fd_;
}

void AsioReactor::add_poller(Poller& poller) {
  check_thread("Reactor::add_poller");
  if (std::ranges::find(pollers_, &poller) != pollers_.end()) {
    internal::misuse("Reactor::add_poller", "Poller", &poller, "was added before");
  }
  pollers_.push_back(&poller);
}

void AsioReactor::remove_poller(Poller& poller) {
  check_thread("Reactor::remove_poller");
  for (Poller*& slot : pollers_) {
    if (slot == &poller) {
      slot = nullptr;
      pollers_changed_ = true;
    }
  }
}

void AsioReactor::arm_timer(Timer& timer) {
  check_thread("Timer::arm");
  // Armed without delay by a timer that expired: next round, or this one would never end.
  if (in_timers_ && timer.slot().deadline <= now_) timer.slot().deadline = now_ + Nanoseconds(1);
  timers_.add(timer);
  if (armed_) set_alarm(timer.slot().deadline);
}

void AsioReactor::cancel_timer(Timer& timer) {
  check_thread("Timer::cancel");
  timers_.remove(timer);
}

absl::StatusOr<std::unique_ptr<Reactor>> Reactor::create(const ReactorOptions& options) {
  if (options.spin < Nanoseconds::zero()) {
    return absl::InvalidArgumentError("ReactorOptions::spin is negative; 0 sleeps at once");
  }
  try {
    auto reactor = std::make_unique<AsioReactor>(options);
    if (absl::Status status = reactor->open(); !status.ok()) return status;
    return reactor;
  } catch (const boost::system::system_error& error) {
    return absl::ResourceExhaustedError(absl::StrCat("no io_context: ", error.what()));
  }
}

}  // namespace mrpool
