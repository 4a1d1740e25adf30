// The event loop that Qps, Cqs, listeners and connections live on.
//
// What it is: one thread's loop. It runs alone (`run`), inside another loop (`poll`, `arm`, `fd`),
// or joined to an Asio io_context (mrpool/asio.h). While there is work it polls; after
// `spin` without any it sleeps in the kernel.
//
// Thread safety: post() and stop() from any thread; everything else from the thread that runs the
// loop, or made the reactor while none runs it: another thread's call aborts with a message.
// Distinct reactors are independent.
// Ownership: tasks, timers and pollers are intrusive and stay the caller's; they must outlive their
// stay in the reactor.
#pragma once

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <type_traits>
#include <utility>

#include "absl/status/statusor.h"
#include "mrpool/internal/thread_sanitizer.h"

namespace boost::asio {
class io_context;
}

namespace mrpool {

// Every time and duration of this library.
using Nanoseconds = std::chrono::nanoseconds;

// A call handed to a reactor from any thread. Reusable once it ran or was taken back; posting one
// that is queued aborts with a message.
struct Task {
  // What a task calls.
  using Run = void (*)(Task& self);
  // `discard_fn`: called instead of `run_fn` when the reactor is destroyed with the task queued.
  explicit constexpr Task(Run run_fn, Run discard_fn = nullptr)
      : run(run_fn), discard(discard_fn) {}
  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;

  Run run;
  Run discard;
  Task* next = nullptr;  // the reactor's; null while it is not queued
};

// A source of work that the loop polls, where polling is cheaper than an event.
class Poller {
 public:
  // Does what can be done now without blocking; true when there was something.
  virtual bool poll() = 0;
  // The loop is about to sleep: arrange to be woken through the reactor. False when work arrived
  // meanwhile, which calls the sleep off. Until the next poll(), work handed to the poller, from
  // the loop's own thread too, must wake the loop: post() or a timer does.
  virtual bool arm() = 0;

 protected:
  ~Poller() = default;
};

class Reactor;

// A one-shot timer; arming an armed timer moves it. Its owner destroys it disarmed or on the loop.
class Timer {
 public:
  // What a timer calls, on the loop.
  using Expired = void (*)(Timer& self);
  // A timer that is not armed.
  explicit constexpr Timer(Expired expired) : expired_(expired) {}
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  ~Timer() { cancel(); }

  // Expires once, `delay` from now; on the loop only.
  void arm(Reactor& reactor, Nanoseconds delay);
  // Disarms it; nothing when it is not armed. On the loop only.
  void cancel();
  // Whether it will expire.
  bool armed() const { return reactor_ != nullptr; }

  // For implementations of Reactor: the reactor owns `slot` while the timer is armed.
  struct Slot {
    Nanoseconds deadline{};
    size_t index = 0;
  };
  // For implementations of Reactor.
  Slot& slot() { return slot_; }
  // For implementations of Reactor: disarms the timer and calls its function.
  void expire() {
    reactor_ = nullptr;
    expired_(*this);
  }

 private:
  Expired expired_;
  Reactor* reactor_ = nullptr;
  Slot slot_;
};

// How a loop waits.
struct ReactorOptions {
  // How long to poll without finding work before sleeping. Longer saves the wake-up (tens of
  // microseconds on a virtual machine) and costs idle CPU; Nanoseconds::max() never sleeps.
  Nanoseconds spin = std::chrono::microseconds(50);
};

// An event loop, which Qps, Cqs and timers live on.
class Reactor {
 public:
  // The reactor of this machine: Asio on epoll, files on io_uring.
  static absl::StatusOr<std::unique_ptr<Reactor>> create(const ReactorOptions& options = {});
  virtual ~Reactor() = default;

  // Runs until stop(); a stop() before run() is not lost. Must not be called from inside a
  // callback.
  virtual void run() = 0;
  // Also from a signal handler.
  virtual void stop() = 0;

  // One round without blocking; returns how many sources had work.
  virtual size_t poll() = 0;
  // For foreign loops. fd() becomes readable when poll() has something to do, provided arm()
  // returned true after the last poll(): `if (r.poll() == 0 && r.arm()) wait_for(r.fd());`
  // -1 where /proc is not mounted. It covers post(), timers, sockets and files, but not asio::post:
  // only run() serves that.
  virtual bool arm() = 0;
  // The descriptor for arm(), above.
  virtual int fd() = 0;

  // Runs `task` on the loop, in the order of posting from each thread. Lock-free, no allocation.
  virtual void post(Task& task) = 0;
  // Runs `call()` on the loop, in the same order. Any thread. The callable is moved or copied to
  // the heap; it is destroyed after it ran, on the loop, or by the reactor's destructor where it
  // did not.
  template <typename Call>
  requires std::invocable < std::decay_t<Call>
  & > void post(Call&& call);
  // Takes a posted task back. True: it was queued here, will not run, and is the caller's again.
  // False: it is not queued here, because it ran or runs now. Linear in the tasks queued.
  virtual bool cancel(Task& task) = 0;

  // Asks `poller` in every round from now on. On the loop, or before it runs.
  virtual void add_poller(Poller& poller) = 0;
  // Does not ask `poller` any more.
  virtual void remove_poller(Poller& poller) = 0;

  // The loop's clock: monotonic, read once per round, so all callbacks of a round see one time.
  virtual Nanoseconds now() const = 0;
  // Whether the calling thread is the one that runs the loop.
  virtual bool in_thread() const = 0;

  // The Asio context this reactor runs, for timers, signals and files of the same thread; null in a
  // simulation. mrpool/asio.h is the typed way in.
  virtual boost::asio::io_context* io_context() { return nullptr; }

 protected:
  friend class Timer;
  virtual void arm_timer(Timer& timer) = 0;  // timer.slot().deadline is set
  // Of a timer that is armed.
  virtual void cancel_timer(Timer& timer) = 0;
};

namespace internal {

// A callable on its way to a reactor; ends itself.
template <typename Call>
struct PostedCall final : Task {
  template <typename From>
  explicit PostedCall(From&& from)
      : Task([](Task& self) { static_cast<PostedCall&>(self).finish(true); },
             [](Task& self) { static_cast<PostedCall&>(self).finish(false); }),
        call(std::forward<From>(from)) {}

  void finish(bool ran) {
    declare_acquired(this);
    const std::unique_ptr<PostedCall> self(this);
    if (ran) call();
  }
  Call call;
};

}  // namespace internal

template <typename Call>
requires std::invocable < std::decay_t<Call>
& > void Reactor::post(Call&& call) {
  auto* const posted = new internal::PostedCall<std::decay_t<Call>>(std::forward<Call>(call));
  internal::declare_released(posted);
  post(*posted);
}

}  // namespace mrpool
