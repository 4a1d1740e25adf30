// A file descriptor that somebody else owns (a completion channel, an event channel), watched on a
// reactor's loop.
//
// Thread safety: the reactor's thread; construction and destruction too.
// Ownership: borrows the descriptor and the events; may be destroyed from inside on_readable.
#pragma once

#include <memory>

#include "absl/status/status.h"
#include "mrpool/reactor.h"

namespace mrpool::verbs {

class FdEvents {
 public:
  // There is something to read; read until there is nothing more.
  virtual void on_readable() = 0;

 protected:
  ~FdEvents() = default;
};

class FdWatch {
 public:
  FdWatch();
  ~FdWatch();
  // Makes `fd` non-blocking and reports from now on. FailedPrecondition: a reactor without
  // descriptors (a simulation's).
  absl::Status start(Reactor& reactor, int fd, FdEvents& events);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace mrpool::verbs
