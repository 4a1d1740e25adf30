// Commands that the controller refused for now, until it is time to submit them again.
//
// A status without Do Not Retry asks for another attempt ([base] 4.6.1): after the Command Retry
// Delay that it names, else as in examples/load/backoff.h. After kMostRetries further attempts
// the status is final.
//
// Ownership: requests are the caller's; they must be taken out before this is destroyed.
// Thread safety: the thread of the reactor.
#pragma once

#include <array>

#include "examples/nvmf/host/request.h"

namespace mrpool::nvme::host {

// CRDT1..3 of Identify Controller.
using RetryDelays = std::array<Nanoseconds, 3>;

class Retries {
 public:
  // `due` is armed for the first request that becomes due. No delay is longer than `longest`,
  // whatever the controller asks for.
  Retries(Timer& due, Nanoseconds longest) : due_(due), longest_(longest) {}

  void set_delays(const RetryDelays& delays) { delays_ = delays; }
  // False: `status` is final.
  bool take(Request& request, Status status, Reactor& reactor);
  // Appends those that are due to `to`, or all of them, and arms the timer for the others.
  void move_due(RequestList& to, Reactor& reactor);
  void move_all(RequestList& to);

 private:
  Timer& due_;
  const Nanoseconds longest_;
  RetryDelays delays_{};
  Nanoseconds next_{0};  // what the timer is armed for
  RequestList list_;
};

}  // namespace mrpool::nvme::host
