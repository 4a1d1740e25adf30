// Coroutines for set-up and control: what would be a chain of callbacks reads from top to bottom.
//
//   Async<absl::Status> open() {
//     co_await on(reactor_);                  // go on in that reactor's thread
//     const Outcome outcome = co_await queue_.execute(command);
//     co_await pause(reactor_, 1s);
//     co_return absl::OkStatus();
//   }
//
// An Async starts when it is awaited, or by spawn(). The data path does not use them: it has
// intrusive requests (queue.h).
//
// Ownership: an Async owns its frame; awaiting it keeps both alive until it returns. A spawned one
// owns itself, so what it refers to must outlive it.
// Thread safety: runs in whichever thread resumes it: the reactor's that it last went on in.
#pragma once

#include <coroutine>
#include <cstdlib>
#include <optional>
#include <utility>

#include "mrpool/callback.h"
#include "mrpool/reactor.h"

namespace mrpool::nvme::host {

template <typename T>
class Async;

namespace internal {

struct PromiseBase {
  std::coroutine_handle<> continuation = std::noop_coroutine();

  struct Final {
    bool await_ready() const noexcept { return false; }
    template <typename P>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<P> self) const noexcept {
      return self.promise().continuation;
    }
    void await_resume() const noexcept {}
  };
  std::suspend_always initial_suspend() const noexcept { return {}; }
  Final final_suspend() const noexcept { return {}; }
  [[noreturn]] void unhandled_exception() const noexcept { std::abort(); }
};

template <typename T>
struct Promise : PromiseBase {
  std::optional<T> value;
  Async<T> get_return_object();
  template <typename U>
  void return_value(U&& result) {
    value.emplace(std::forward<U>(result));
  }
  T take() { return std::move(*value); }
};

template <>
struct Promise<void> : PromiseBase {
  Async<void> get_return_object();
  void return_void() const noexcept {}
  void take() const noexcept {}
};

}  // namespace internal

template <typename T = void>
class [[nodiscard]] Async {
 public:
  using promise_type = internal::Promise<T>;
  using Handle = std::coroutine_handle<promise_type>;

  explicit Async(Handle handle) : handle_(handle) {}
  Async(Async&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Async& operator=(Async&&) = delete;
  ~Async() {
    if (handle_) handle_.destroy();
  }

  bool await_ready() const noexcept { return false; }
  Handle await_suspend(std::coroutine_handle<> caller) noexcept {
    handle_.promise().continuation = caller;
    return handle_;
  }
  T await_resume() { return handle_.promise().take(); }

 private:
  Handle handle_;
};

namespace internal {

template <typename T>
Async<T> Promise<T>::get_return_object() {
  return Async<T>(std::coroutine_handle<Promise<T>>::from_promise(*this));
}
inline Async<void> Promise<void>::get_return_object() {
  return Async<void>(std::coroutine_handle<Promise<void>>::from_promise(*this));
}

// A coroutine that nobody waits for; its frame goes when it ends.
struct Detached {
  struct promise_type {
    Detached get_return_object() const noexcept { return {}; }
    std::suspend_never initial_suspend() const noexcept { return {}; }
    std::suspend_never final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
    [[noreturn]] void unhandled_exception() const noexcept { std::abort(); }
  };
};

}  // namespace internal

// Starts `work` now; it runs in the caller until it first waits.
inline internal::Detached spawn(Async<void> work) { co_await work; }

// Goes on in the thread of `reactor`.
class [[nodiscard]] on final : public Task {
 public:
  explicit on(Reactor& reactor) : Task(to_method<&on::resume>), reactor_(reactor) {}
  bool await_ready() const { return reactor_.in_thread(); }
  void await_suspend(std::coroutine_handle<> caller) {
    caller_ = caller;
    reactor_.post(*this);
  }
  void await_resume() const noexcept {}

 private:
  void resume() { caller_.resume(); }
  Reactor& reactor_;
  std::coroutine_handle<> caller_;
};

// Goes on after `delay`, in the same thread, which must be that of `reactor`.
class [[nodiscard]] pause final : public Timer {
 public:
  pause(Reactor& reactor, Nanoseconds delay)
      : Timer(to_method<&pause::resume>), reactor_(reactor), delay_(delay) {}
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> caller) {
    caller_ = caller;
    arm(reactor_, delay_);
  }
  void await_resume() const noexcept {}

 private:
  void resume() { caller_.resume(); }
  Reactor& reactor_;
  Nanoseconds delay_;
  std::coroutine_handle<> caller_;
};

// Something that happens once and that coroutines wait for: set() before or after they begin to.
// Reusable after reset().
class Event {
 public:
  class [[nodiscard]] Wait {
   public:
    explicit Wait(Event& event) : event_(event) {}
    bool await_ready() const noexcept { return event_.set_; }
    void await_suspend(std::coroutine_handle<> caller) noexcept {
      caller_ = caller;
      Wait** last = &event_.waiting_;
      while (*last != nullptr) last = &(*last)->next_;
      *last = this;
    }
    void await_resume() const noexcept {}

   private:
    friend class Event;
    Event& event_;
    std::coroutine_handle<> caller_;
    Wait* next_ = nullptr;
  };

  Wait operator co_await() noexcept { return Wait(*this); }

  // Runs the waiting coroutines from inside, in the order of their waits; touch nothing they may
  // have destroyed afterwards.
  void set() {
    set_ = true;
    for (Wait* wait = std::exchange(waiting_, nullptr); wait != nullptr;) {
      Wait* const next = wait->next_;  // the wait goes when its coroutine goes on
      wait->caller_.resume();
      wait = next;
    }
  }
  void reset() { set_ = false; }
  bool is_set() const { return set_; }

 private:
  bool set_ = false;
  Wait* waiting_ = nullptr;
};

}  // namespace mrpool::nvme::host
