// Which hosts of a world may use its target, and since when: what the access moves change by a
// reload, and what the hosts are held to.
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
  // Longer than the network keeps what was sent.
  static constexpr Nanoseconds kSettled = std::chrono::seconds(1);

  explicit Admission(size_t hosts) : hosts_(hosts) {}

  bool admits(size_t host) const { return hosts_[host].admitted; }
  void change(size_t host, bool admitted, Nanoseconds now) { hosts_[host] = {admitted, now}; }
  // It is not admitted, and no answer of before is still on its way.
  bool settled_refusal(size_t host, Nanoseconds now) const {
    return !admits(host) && now - hosts_[host].since > kSettled;
  }
  // It is admitted, and no refusal of before is still on its way.
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
