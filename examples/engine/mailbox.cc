#include "examples/engine/mailbox.h"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <utility>

#include "mrpool/callback.h"

namespace mrpool::engine {

// When the loop ends, the task may still be in the reactor's queue's queue; then it outlives the
// mailbox.
struct Mailbox::Box : Task {
  using Calls = std::deque<std::function<void()>>;

  Box() : Task(to_method<&Box::deliver>, to_method<&Box::end>) {}

  // True: the caller must post it.
  bool add(std::function<void()> call) {
    const std::lock_guard lock(mutex);
    calls.push_back(std::move(call));
    return !std::exchange(queued, true);
  }
  Calls take() {
    const std::lock_guard lock(mutex);
    return std::exchange(calls, {});
  }
  void deliver() {
    if (left) return end();
    {
      const std::lock_guard lock(mutex);
      queued = false;
    }
    for (auto& call : take()) {
      call();
      call = nullptr;  // another thread may wait for its captures
    }
  }
  void end() {
    if (left) delete this;
  }

  std::mutex mutex;
  Calls calls;
  bool queued = false;  // in the reactor
  bool left = false;    // the mailbox was destroyed; set when no loop runs
};

Mailbox::Mailbox(Reactor& reactor) : reactor_(reactor), box_(new Box) {}

Mailbox::~Mailbox() {
  while (discard()) {  // their destructors may post other calls
  }
  if (box_->queued && !(reactor_.in_thread() && reactor_.cancel(*box_))) {
    box_->left = true;
  } else {
    delete box_;
  }
}

void Mailbox::post(std::function<void()> call) {
  if (box_->add(std::move(call))) reactor_.post(*box_);
}

void Mailbox::run(const std::function<void()>& call) {
  if (reactor_.in_thread()) return call();
  std::mutex mutex;
  std::condition_variable done_changed;
  bool done = false;
  post([&] {
    call();
    const std::lock_guard lock(mutex);
    done = true;
    done_changed.notify_one();
  });
  std::unique_lock lock(mutex);
  done_changed.wait(lock, [&] { return done; });
}

bool Mailbox::discard() { return !box_->take().empty(); }

}  // namespace mrpool::engine
