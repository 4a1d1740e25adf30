// Sends calls to one reactor's loop, from any thread; for set-up and administration, not for the
// data path.
//
// Thread safety: post() and run(): any thread. Ownership: the owner destroys it on the reactor's
// thread, or when that loop will not run again; pending calls are then discarded. The reactor
// outlives it.
#pragma once

#include <functional>

#include "mrpool/reactor.h"

namespace mrpool::engine {

class Mailbox {
 public:
  explicit Mailbox(Reactor& reactor);
  ~Mailbox();
  Mailbox(const Mailbox&) = delete;
  Mailbox& operator=(const Mailbox&) = delete;

  // Runs `call` on the loop, in the order of posting.
  void post(std::function<void()> call);
  // The same, but waits until `call` has run. Runs it directly on the loop's thread, or when no
  // thread runs the loop.
  void run(const std::function<void()>& call);
  // Discards pending calls; false when there were none. For the shutdown, when no loop runs.
  bool discard();

 private:
  struct Box;

  Reactor& reactor_;
  Box* const box_;  // owned by the reactor if its task is still queued at the end
};

}  // namespace mrpool::engine
