// Limits how often a peer may send a wrong secret.
//
// It counts by the peer's network, never by the name that the peer claims. So an attacker who
// guesses under another initiator's name does not block that initiator. Peers that share an address
// share its limit.
//
// Thread safety: any thread; a mutex, taken once or twice in a login.
#pragma once

#include <cstddef>
#include <map>
#include <mutex>
#include <string>
#include <string_view>

#include "mrpool/reactor.h"

namespace mrpool::iser_target {

class GuessLimit {
 public:
  static constexpr uint32_t kAtOnce = 10;
  static constexpr Nanoseconds kEach =
      std::chrono::seconds(10);  // the interval at which one more is allowed
  // The most networks that are recorded; beyond it, the one with the oldest failure is removed.
  static constexpr size_t kNetworks = 4096;

  // True if `peer` ("10.0.0.1:5000") may answer a challenge at `now` (monotonic).
  bool allows(std::string_view peer, Nanoseconds now);
  // Records a wrong answer.
  void wrong(std::string_view peer, Nanoseconds now);

 private:
  std::mutex mutex_;
  std::map<std::string, Nanoseconds> forgiven_at_;  // by network: when its limit is fully restored
};

}  // namespace mrpool::iser_target
