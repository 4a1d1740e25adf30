// Calls for one reactor's loop, from any thread: set-up and administration, not the data path.
//
// Thread safety: post() and run(): any thread. Ownership: the owner destroys it on the reactor's
// thread, or when that loop will not run again; calls that have not run are dropped then.
#pragma once

#include <deque>
#include <functional>
#include <mutex>

#include "mrpool/callback.h"
#include "mrpool/reactor.h"

namespace mrpool::engine {

class Mailbox {
 public:
  explicit Mailbox(Reactor& reactor) : reactor_(reactor) {}
  Mailbox(const Mailbox&) = delete;
  Mailbox& operator=(const Mailbox&) = delete;

  // Runs `call` on the loop, in the order of posting.
  void post(std::function<void()> call);
  // The same, but waits until `call` has run; at once when this is the loop's thread or nobody's.
  void run(const std::function<void()>& call);
  // Forgets calls that have not run; false when there were none. For the end, when no loop runs.
  bool discard();

 private:
  void deliver();

  Reactor& reactor_;
  std::mutex mutex_;
  std::deque<std::function<void()>> calls_;
  Bound<Task, &Mailbox::deliver> delivery_{*this};
};

}  // namespace mrpool::engine
