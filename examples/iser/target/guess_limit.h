// How often a peer may be wrong about a secret.
//
// What is counted is the peer's network, never the name it claims: a stranger who guesses under an
// honest initiator's name uses up guesses of his own, and the honest one logs in as always. Peers
// that share an address share its guesses.
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
  static constexpr Nanoseconds kEach = std::chrono::seconds(10);  // another one comes that often
  // Networks remembered; beyond that the one that was wrong longest ago is forgotten.
  static constexpr size_t kNetworks = 4096;

  // Whether `peer` ("10.0.0.1:5000") may answer a challenge at `now` (monotonic).
  bool allows(std::string_view peer, Nanoseconds now);
  // Its answer was wrong.
  void wrong(std::string_view peer, Nanoseconds now);

 private:
  std::mutex mutex_;
  std::map<std::string, Nanoseconds> forgiven_at_;  // by network: when it has all guesses again
};

}  // namespace mrpool::iser_target
