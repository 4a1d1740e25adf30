// Measures several hosts over a period: the number of commands, and the longest wait for an answer
// to one of them, for any answer, or for a connection. The wait of a repeated command starts again
// on its new connection.
//
// Thread safety: one thread.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "mrpool/reactor.h"

namespace mrpool::sim {

class Meter {
 public:
  Meter(size_t hosts, Nanoseconds now)
      : began_(now), hosts_(hosts, Host{.changed = now, .answered = now}) {}

  // Call it often. `completed` is the number of answers since the start; `oldest` is the start of
  // the oldest unanswered command (max(): none).
  void look(size_t which, uint64_t completed, bool connected, Nanoseconds oldest, Nanoseconds now) {
    Host& host = hosts_[which];
    if (!host.seen) host.first = host.completed = completed;
    host.seen = true;
    const Nanoseconds since = std::min(host.answered, std::max(oldest, host.changed));
    host.longest = std::max(host.longest, now - since);
    if (connected != host.connected) host.changed = host.answered = now;
    if (completed != host.completed) host.answered = now;
    host.connected = connected;
    host.completed = completed;
    now_ = now;
  }
  Nanoseconds longest_stall(size_t which) const { return hosts_[which].longest; }
  // Commands a second.
  double rate(size_t which) const {
    const auto commands = static_cast<double>(hosts_[which].completed - hosts_[which].first);
    return commands / std::chrono::duration<double>(now_ - began_).count();
  }

 private:
  struct Host {
    bool seen = false;
    uint64_t first = 0;
    uint64_t completed = 0;
    bool connected = true;
    Nanoseconds changed{};  // from connected to not, or back
    Nanoseconds answered{};
    Nanoseconds longest{};
  };
  const Nanoseconds began_;
  Nanoseconds now_ = began_;
  std::vector<Host> hosts_;
};

}  // namespace mrpool::sim
