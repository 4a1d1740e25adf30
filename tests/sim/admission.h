// Which hosts of a world may use its target, and since when. The access moves change it by a
// reload; the hosts check it.
//
// Thread safety: one thread.
#pragma once

#include <chrono>
#include <cstddef>
#include <vector>

#include "mrpool/reactor.h"

namespace mrpool::sim {

class Admission {
 public:
  // Longer than the network delays sent bytes.
  static constexpr Nanoseconds kSettled = std::chrono::seconds(1);

  explicit Admission(size_t hosts) : hosts_(hosts) {}

  bool admits(size_t host) const { return hosts_[host].admitted; }
  void change(size_t host, bool admitted, Nanoseconds now) { hosts_[host] = {admitted, now}; }
  // The host is not admitted, and no earlier answer can still arrive.
  bool settled_refusal(size_t host, Nanoseconds now) const {
    return !admits(host) && now - hosts_[host].since > kSettled;
  }
  // The host is admitted, and no earlier refusal can still arrive.
  bool settled_admission(size_t host, Nanoseconds now) const {
    return admits(host) && now - hosts_[host].since > kSettled;
  }

 private:
  struct Host {
    bool admitted = true;
    Nanoseconds since{};
  };
  std::vector<Host> hosts_;
};

}  // namespace mrpool::sim
