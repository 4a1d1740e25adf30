#include "examples/engine/mailbox.h"

#include <condition_variable>
#include <utility>

namespace mrpool::engine {

void Mailbox::post(std::function<void()> call) {
  bool first = false;
  {
    const std::lock_guard lock(mutex_);
    first = calls_.empty();
    calls_.push_back(std::move(call));
  }
  if (first) reactor_.post(delivery_);
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

void Mailbox::deliver() {
  std::deque<std::function<void()>> calls;
  {
    const std::lock_guard lock(mutex_);
    calls.swap(calls_);
  }
  for (auto& call : calls) {
    call();
    call = nullptr;  // what it holds may be waited for
  }
}

bool Mailbox::discard() {
  std::deque<std::function<void()>> calls;
  {
    const std::lock_guard lock(mutex_);
    calls.swap(calls_);
  }
  return !calls.empty();  // what they hold may post others
}

}  // namespace mrpool::engine
