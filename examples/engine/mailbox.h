// Calls for one reactor's loop, from any thread: set-up and administration, not the data path.
//
// Thread safety: post() and run(): any thread. Ownership: the owner destroys it on the reactor's
// thread, or when that loop will not run again; calls that have not run are dropped then. The
// reactor outlives it.
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
  // The same, but waits until `call` has run; at once when this is the loop's thread or nobody's.
  void run(const std::function<void()>& call);
  // Forgets calls that have not run; false when there were none. For the end, when no loop runs.
  bool discard();

 private:
  struct Box;

  Reactor& reactor_;
  Box* const box_;  // the reactor's where that still has it at the end
};

}  // namespace mrpool::engine
